import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = '`hits++` after an await reads and writes in one step. The value that was read before the await goes only into the response.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const stats = shared({ hits: 0, errors: 0 }, 'stats')
  app.get('/page', async () => {
    const before = stats.hits
    await sleep(1)
    stats.hits++
    return { before, after: stats.hits }
  })
  app.get('/hits', async () => stats.hits)
  return app
}

export const program: Program = {
  name: 'clean/hits-after-await',
  source: 'pattern: synchronous increment after an await',
  build,
  requests: [{ url: '/page' }, { url: '/page' }, { url: '/page' }],
  async invariant (app) {
    assert.equal((await app.inject('/hits')).json(), 3)
  }
}
