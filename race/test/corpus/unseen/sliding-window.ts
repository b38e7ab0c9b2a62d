// A sliding window of the times of requests: old times are filtered out, and the copy is stored with the new time.
import assert from 'node:assert/strict'
import { promisify } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import { pair, type Tools } from '../program.ts'

export const description = 'A limiter filters the times of a client into a copy, awaits the list of blocked clients, and stores the copy. Times of other requests are lost.'

type Done<T> = (error: Error | null, value: T) => void

/** An older client library, with callbacks. */
function lookUpBlocked (client: string, done: Done<boolean>): void {
  setTimeout(() => done(null, client === 'mallory'), 1)
}
const isBlocked = promisify(lookUpBlocked)

const WINDOW = 10_000
const LIMIT = 2

function racyApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const times: { [client: string]: number[] } = shared({}, 'times')
  app.addHook<{ Params: { client: string } }>('onRequest', async (request, reply) => {
    const { client } = request.params
    const now = Date.now()
    const recent = (times[client] ?? []).filter((time) => now - time < WINDOW)
    if (recent.length >= LIMIT || await isBlocked(client)) return reply.code(429).send()
    recent.push(now)
    times[client] = recent
  })
  app.get('/api/:client', async () => 'ok')
  return app
}

function fixedApp ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const times: { [client: string]: number[] } = shared({}, 'times')
  app.addHook<{ Params: { client: string } }>('onRequest', async (request, reply) => {
    const { client } = request.params
    const blocked = await isBlocked(client)
    const now = Date.now()
    const recent = (times[client] ?? []).filter((time) => now - time < WINDOW)
    if (blocked || recent.length >= LIMIT) return reply.code(429).send()
    times[client] = [...recent, now]
  })
  app.get('/api/:client', async () => 'ok')
  return app
}

export const { racy, fixed } = pair({
  name: 'unseen/sliding-window',
  source: 'pattern: rate counter',
  requests: Array.from({ length: 4 }, () => ({ url: '/api/ann' })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map(({ statusCode }) => statusCode).sort(), [200, 200, 429, 429])
  }
}, racyApp, fixedApp)
