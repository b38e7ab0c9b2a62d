// A limit an API key, as large as what its owner pays for.
import type { FastifyPluginAsync } from 'fastify'
import limiter from 'fastify-concurrency/limiter'

const limits: Record<string, number> = { 'free-ada': 2, 'pro-bob': 8 }

/** BAD. Who leaves the key out isn't limited at all: the limit holds for those who are honest. */
export const bad: FastifyPluginAsync = async (app) => {
  const counts = new Map<string, number>()
  app.get('/work', async (request, reply) => {
    const key = request.headers['x-api-key']
    if (typeof key !== 'string') return { done: true }
    const count = (counts.get(key) ?? 0) + 1
    counts.set(key, count)
    return count > (limits[key] ?? 1) ? reply.code(429).send({ error: 'Too many requests' }) : { done: true }
  })
}

/** GOOD. Rate and burst by key; a request without one gets a 401, or with `missingKey: 'address'` a bucket of its address. */
export const good: FastifyPluginAsync = async (app) => {
  const limit = (key: string): number => limits[key] ?? 1
  await app.register(limiter, { policies: { key: { rate: limit, burst: limit, key: { header: 'x-api-key' } } } })
  app.get('/work', async () => ({ done: true }))
}
