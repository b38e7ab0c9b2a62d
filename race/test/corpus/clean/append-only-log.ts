import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'Entries are only appended to the log. The order of entries of different requests does not matter.'

interface Entry { id: string, step: 'began' | 'ended' }

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const log: Entry[] = shared([], 'log')
  app.post<{ Params: { id: string } }>('/work/:id', async ({ params: { id } }) => {
    log.push({ id, step: 'began' })
    await sleep(1)
    log.push({ id, step: 'ended' })
    return { entries: log.length }
  })
  app.get('/log', async () => log)
  return app
}

export const program: Program = {
  name: 'clean/append-only-log',
  source: 'race.md: an append-only log',
  build,
  requests: ['a', 'b', 'c'].map((id) => ({ method: 'POST', url: `/work/${id}` })),
  async invariant (app) {
    const log = (await app.inject('/log')).json<Entry[]>()
    assert.equal(log.length, 6)
    for (const id of ['a', 'b', 'c']) assert.deepEqual(log.filter((entry) => entry.id === id).map(({ step }) => step), ['began', 'ended'])
  }
}
