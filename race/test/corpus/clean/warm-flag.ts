import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'Several requests may warm the cache up and set the same flag to true. The work is harmless if it is done twice.'

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const status = shared({ warm: false }, 'status')
  const warmUp = async (): Promise<void> => { await sleep(1) }
  app.addHook('preHandler', async () => {
    if (status.warm) return
    await warmUp()
    status.warm = true
  })
  app.get('/', async () => ({ warm: status.warm }))
  return app
}

export const program: Program = {
  name: 'clean/warm-flag',
  source: 'pattern: idempotent flag',
  build,
  requests: [{ url: '/' }, { url: '/' }, { url: '/' }],
  invariant (_app, responses) {
    for (const response of responses) assert.deepEqual(response.json(), { warm: true })
  }
}
