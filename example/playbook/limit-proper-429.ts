// A 429 that helps: when to come back, and what the limit is.
import type { FastifyPluginAsync } from 'fastify'
import limiter from 'fastify-concurrency/limiter'

/**
 * BAD. Thrown: it costs more than serving, at the moment when there is too much to do, and fills the log with errors that
 * are none. Without Retry-After clients guess, and guess short. A cache may keep it and serve it to others.
 */
export const bad: FastifyPluginAsync = async (app) => {
  let served = 0
  app.get('/work', async () => {
    if (++served > 1) throw Object.assign(new Error('Slow down'), { statusCode: 429 })
    return { done: true }
  })
}

/**
 * GOOD. `Retry-After` is never early: a lone client that waits as long passes. `RateLimit` and `RateLimit-Policy` come
 * with successes too, so that a client can slow down before it is refused. Not cached, not logged as an error.
 */
export const good: FastifyPluginAsync = async (app) => {
  await app.register(limiter, { policies: { client: { rate: 1 / 30, burst: 1, key: 'address' } } })
  app.get('/work', async () => ({ done: true }))
}
