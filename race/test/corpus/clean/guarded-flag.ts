import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A flag is set before the await and reset after it, and only the request that set the flag resets it. require-atomic-updates reports the reset.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const sync = shared({ running: false, runs: 0 }, 'sync')
  app.post('/sync', async (_request, reply) => {
    if (sync.running) return reply.code(409).send({ error: 'a synchronisation is running' })
    sync.running = true
    try {
      await sleep(1)
      sync.runs++
      return { runs: sync.runs }
    } finally {
      sync.running = false
    }
  })
  app.get('/sync', async () => sync)
  return app
}

export const program: Program = {
  name: 'clean/guarded-flag',
  source: 'eslint/eslint#12353',
  build,
  requests: Array.from({ length: 3 }, () => ({ method: 'POST', url: '/sync' })),
  async invariant (app, responses) {
    const done = responses.filter(({ statusCode }) => statusCode === 200).length
    assert.deepEqual((await app.inject('/sync')).json(), { running: false, runs: done })
  }
}
