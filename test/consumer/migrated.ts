// An autoloaded plugin that took the place of @fastify/rate-limit, and a route of such an application: that package is imported nowhere.
import type { FastifyInstance } from 'fastify'
import limiter, { type LimiterOptions } from 'fastify-concurrency/limiter'

export const autoConfig: LimiterOptions = { policies: { client: { rate: 100, per: 'minute', burst: 100, key: 'address' } } }
export default limiter

export async function routes (app: FastifyInstance): Promise<void> {
  app.post<{ Body: { name: string } }>('/login', { config: { rateLimit: { max: 3, timeWindow: '1 minute' } } }, async (request) => {
    const name: string = request.body.name
    return name
  })
  app.get('/free', { config: { rateLimit: false } }, async () => 'free')
  // @ts-expect-error: a policy's lockout takes its place
  app.get('/banned', { config: { rateLimit: { max: 3, ban: 3 } } }, async () => 'banned')

  app.setNotFoundHandler({ preHandler: app.rateLimit({ max: 3, timeWindow: 500 }) }, async (_request, reply) => reply.code(404).send())
  // @ts-expect-error: a policy's lockout takes its place
  app.rateLimit({ max: 3, ban: 3 })
  // @ts-expect-error: likewise
  app.createRateLimit({ max: 3, ban: 3 })

  const check = app.createRateLimit({ max: 3 })
  app.get('/checked', async (request) => {
    const limit = await check(request)
    return limit.isAllowed ? Infinity : limit.remaining
  })
}
