import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'A token is refilled, checked and taken in one synchronous function. The handlers await afterwards.'

interface Bucket { tokens: number, updated: number }

const RATE = 1 / 60_000
const BURST = 2

function take (buckets: Map<string, Bucket>, key: string, now: number): boolean {
  const bucket = buckets.get(key) ?? { tokens: BURST, updated: now }
  const tokens = Math.min(BURST, bucket.tokens + (now - bucket.updated) * RATE)
  buckets.set(key, { tokens: tokens >= 1 ? tokens - 1 : tokens, updated: now })
  return tokens >= 1
}

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const buckets = shared(new Map<string, Bucket>(), 'buckets')
  app.addHook('onRequest', async (request, reply) => {
    if (!take(buckets, request.ip, Date.now())) return reply.code(429).send({ error: 'slow down' })
  })
  app.get('/api', async () => {
    await sleep(1)
    return 'ok'
  })
  return app
}

export const program: Program = {
  name: 'clean/token-bucket',
  source: 'pattern: synchronous limiter',
  build,
  requests: Array.from({ length: 4 }, () => ({ url: '/api' })),
  invariant (_app, responses) {
    assert.equal(responses.filter(({ statusCode }) => statusCode === 200).length, 2)
  }
}
