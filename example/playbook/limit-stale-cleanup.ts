// Stale clients: a table that grows with every address ever seen.
import type { FastifyPluginAsync } from 'fastify'
import limiter from 'fastify-concurrency/limiter'

/**
 * BAD. Bounded by forgetting the oldest: whoever is limited sends a few requests from other addresses, is forgotten
 * with its count, and starts afresh. Forgetting by age on a timer does the same, and stops the process while it sweeps.
 */
export const bad: FastifyPluginAsync = async (app) => {
  const counts = new Map<string, number>()
  app.get('/work', async (request, reply) => {
    const count = (counts.get(request.ip) ?? 0) + 1
    counts.set(request.ip, count)
    if (counts.size > 100) counts.delete(counts.keys().next().value!)
    return count > 2 ? reply.code(429).send({ error: 'Too many requests' }) : { done: true }
  })
}

/**
 * GOOD. A bucket is forgotten when it is full again, since then it says nothing; never before. When the table is full of
 * clients that are still refilling, new ones share one bucket, and nobody's limit is lifted.
 */
export const good: FastifyPluginAsync = async (app) => {
  await app.register(limiter, { maxKeys: 100, policies: { client: { rate: 1 / 60, burst: 2, key: 'address' } } })
  app.get('/work', async () => ({ done: true }))
}
