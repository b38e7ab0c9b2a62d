// A limit for the whole service: what the machine behind it can bear.
import type { FastifyPluginAsync } from 'fastify'
import limiter from 'fastify-concurrency/limiter'

/**
 * BAD. A counter that starts again each second lets twice the limit through around the second's end, which is exactly
 * what it was to prevent. And the refused can't know when to come back, so they all come at once.
 */
export const bad: FastifyPluginAsync = async (app) => {
  let count = 0
  const reset = setInterval(() => { count = 0 }, 1_000).unref()
  app.addHook('onClose', async () => clearInterval(reset))
  app.get('/work', async (_request, reply) => {
    if (++count > 10) return reply.code(429).send({ error: 'Too many requests' })
    return { done: true }
  })
}

/** GOOD. One bucket: over any time t no more than 10 + 10·t pass. Clients don't see it: it isn't theirs. */
export const good: FastifyPluginAsync = async (app) => {
  await app.register(limiter, { policies: { service: { rate: 10, burst: 10, expose: false } } })
  app.get('/work', async () => ({ done: true }))
}
