import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The request that brings the countdown to zero finishes the batch. The decrement and the test are one step.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const batch = shared({ remaining: 3, finished: 0 }, 'batch')
  app.post<{ Params: { part: string } }>('/parts/:part', async ({ params: { part } }) => {
    await sleep(1) // stores the part
    if (--batch.remaining === 0) batch.finished++
    return { part, last: batch.remaining === 0 }
  })
  app.get('/batch', async () => batch)
  return app
}

export const program: Program = {
  name: 'clean/countdown',
  source: 'pattern: countdown latch',
  build,
  requests: [1, 2, 3].map((part) => ({ method: 'POST', url: `/parts/${part}` })),
  async invariant (app) {
    assert.deepEqual((await app.inject('/batch')).json(), { remaining: 0, finished: 1 })
  }
}
