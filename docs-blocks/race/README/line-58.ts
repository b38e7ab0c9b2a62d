import { test } from 'node:test'
import type { FastifyInstance } from 'fastify'
import Fastify from 'fastify'
import type {} from 'fastify-concurrency/locks'
declare const app: FastifyInstance
declare const sessions: { load: (id: string) => Promise<{ visits: number }> }
import race from 'fastify-concurrency-race'

test('visits are counted', async () => {
  const app = Fastify()
  await app.register(race, { fail: true })
  // … hammer(app, '/visits') …
  await app.close()                        // rejects if requests raced
})
export {}
