// Several limits on one request: the service's, the client's, the expensive route's.
import type { FastifyPluginAsync } from 'fastify'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import limiter from 'fastify-concurrency/limiter'

/**
 * BAD. One after the other: what the second refuses, the first has already counted. A single client that is over its own
 * limit uses up the service's, and everybody is refused.
 */
export const bad: FastifyPluginAsync = async (app) => {
  const service = new RateLimiterMemory({ points: 10, duration: 60 })
  const client = new RateLimiterMemory({ points: 3, duration: 60 })
  app.get('/work', async (request, reply) => {
    try {
      await service.consume('service')
      await client.consume(request.ip)
    } catch {
      return reply.code(429).send({ error: 'Too many requests' })
    }
    return { done: true }
  })
}

/** GOOD. One decision on all of them: a refused request takes no token anywhere; with Redis it is one script. */
export const good: FastifyPluginAsync = async (app) => {
  await app.register(limiter, {
    policies: {
      service: { rate: 10 / 60, burst: 10, expose: false },
      client: { rate: 3 / 60, burst: 3, key: 'address' }
    }
  })
  app.get('/work', async () => ({ done: true }))
}
