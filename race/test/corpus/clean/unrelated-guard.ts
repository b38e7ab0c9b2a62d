import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A test of the state before the await only adds a line to a log. The write afterwards does not depend on the test.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const lines: string[] = []
  const door = shared({ last: 'nobody', passages: 0 }, 'door')
  app.post<{ Params: { who: string } }>('/pass/:who', async ({ params: { who } }) => {
    if (door.last === who) lines.push(`${who} passes again`)
    await sleep(1) // opens the door
    door.last = who
    door.passages += 1
    return { passages: door.passages }
  })
  app.get('/door', async () => door)
  return app
}

export const program: Program = {
  name: 'clean/unrelated-guard',
  source: 'pattern: test that governs no write',
  build,
  requests: ['ann', 'ben', 'ann'].map((who) => ({ method: 'POST', url: `/pass/${who}` })),
  async invariant (app) {
    const { last, passages } = (await app.inject('/door')).json<{ last: string, passages: number }>()
    assert.equal(passages, 3)
    assert.match(last, /^(ann|ben)$/)
  }
}
