// rogerSuperBuilderAlpha/cursor-boston#129: the counter is raised before it is compared, and lowered again for who is refused.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const store = {}
  const checkRateLimit = (identifier, maxRequests) => {
    const entry = store[identifier] ??= { count: 0 }
    entry.count++
    if (entry.count > maxRequests) {
      entry.count--
      return false
    }
    return true
  }

  app.post('/login', async (request, reply) => {
    if (!checkRateLimit('1.2.3.4', 2)) return reply.code(429).send({ error: 'slow down' })
    await sleep(2)
    return { ok: true }
  })
  return app
}

export const requests = Array.from({ length: 3 }, () => ({ method: 'POST', url: '/login' }))
