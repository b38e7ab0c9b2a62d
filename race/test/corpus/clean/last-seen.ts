import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The time at which a user was last seen is overwritten without being read. Any of the times is right.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const lastSeen: Record<string, number> = shared({}, 'lastSeen')
  app.addHook('onRequest', async (request) => {
    lastSeen[String(request.headers['x-user'])] = Date.now()
  })
  app.addHook('onResponse', async (request) => {
    lastSeen[String(request.headers['x-user'])] = Date.now()
  })
  app.get('/feed', async () => {
    await sleep(1)
    return []
  })
  app.get('/seen', async () => lastSeen)
  return app
}

export const program: Program = {
  name: 'clean/last-seen',
  source: 'pattern: blind write of a time',
  build,
  requests: ['ann', 'ann', 'ben'].map((user) => ({ url: '/feed', headers: { 'x-user': user } })),
  async invariant (app) {
    const seen = (await app.inject({ url: '/seen', headers: { 'x-user': 'root' } })).json<Record<string, number>>()
    assert.deepEqual(Object.keys(seen).sort(), ['ann', 'ben', 'root'])
  }
}
