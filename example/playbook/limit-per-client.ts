// A limit a client: whose address is it?
import type { FastifyPluginAsync } from 'fastify'
import limiter from 'fastify-concurrency/limiter'

/**
 * BAD. The header is the client's to write: it sends another address with each request and is never limited, or
 * somebody else's and has them limited. And an IPv6 client has 2⁶⁴ addresses without lying.
 */
export const bad: FastifyPluginAsync = async (app) => {
  const counts = new Map<string, number>()
  app.get('/work', async (request, reply) => {
    const client = String(request.headers['x-forwarded-for'] ?? request.ip)
    const count = (counts.get(client) ?? 0) + 1
    counts.set(client, count)
    return count > 5 ? reply.code(429).send({ error: 'Too many requests' }) : { done: true }
  })
}

/**
 * GOOD. The address of the connection, IPv6 by its /64. Behind a proxy, `Fastify({ trustProxy: ['10.0.0.0/8'] })` names
 * the proxies whose word is taken; the limiter warns of `trustProxy: true`.
 */
export const good: FastifyPluginAsync = async (app) => {
  await app.register(limiter, { policies: { client: { rate: 5, burst: 5, key: 'address' } } })
  app.get('/work', async () => ({ done: true }))
}
