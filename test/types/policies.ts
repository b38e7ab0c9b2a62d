// Names of policies: those that the application registers, and no others.
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { definePolicies, type PolicyName, type Reservation } from 'fastify-concurrency/limiter'
import { holds, type Equal } from './equal.ts'

export const policies = definePolicies({
  client: { rate: 10, burst: 20, key: 'address' },
  plan: { rate: (key) => key.length, burst: async (_key, request) => Number(request?.id), key: { header: 'x-api-key' }, missingKey: 'address' },
  login: { rate: 5, per: 'minute', burst: 5, key: 'address', lockout: { after: 10, duration: 900_000 }, body: (_request, { policy, retryAfter }) => ({ policy, retryAfter }) },
  known: { rate: 1, burst: 2, key: { header: 'x-api-key', known: async (key, request) => request.id === key }, missingKey: 'address' },
  user: { rate: 1, burst: 2, key: async (request) => request.headers.authorization, stage: 'preHandler', allowList: ['ada'] },
  failures: { rate: 1, burst: 5, charge: async (request, reply) => reply.statusCode === 401 && request.id !== '' ? 1 : 0 }
})

declare module 'fastify-concurrency' {
  interface Register { policies: typeof policies }
}

holds<Equal<PolicyName, 'client' | 'plan' | 'login' | 'known' | 'user' | 'failures'>>()

export async function use (app: FastifyInstance): Promise<void> {
  holds<Equal<Awaited<ReturnType<typeof app.limiter.allow>>, boolean>>()
  await app.limiter.allow('client', '10.0.0.1', 2)
  await app.limiter.wait('plan', 'key', { cost: 2, signal: AbortSignal.timeout(10), timeout: 5, maxWaiting: 3, detached: true })
  const { delay, cancel }: Reservation = await app.limiter.reserve('user', 'ada', { maxWait: 100 })
  if (delay > 0) await cancel()
  // @ts-expect-error: no such policy
  await app.limiter.allow('clients')
  // @ts-expect-error: no such option
  await app.limiter.wait('client', 'key', { timout: 5 })
  app.get('/a', { config: { limiter: { cost: 2, policies: ['plan'] } } }, async () => 1)
  app.get('/b', { config: { limiter: false } }, async () => 1)
  app.get('/refused', { config: { limiter: { body: (request, error) => `${request.id} ${error.retryAfter}`, onExceeded: (_request, { key }) => key } } }, async () => 1)
  // @ts-expect-error: the error of a refusal has no such field, and the body would say "undefined"
  app.get('/refused', { config: { limiter: { body: (_request, error) => ({ in: error.ttl }) } } }, async () => 1)
  app.post<{ Body: string }>('/own', { config: { rateLimit: { max: 3 } }, preHandler: app.rateLimit({ max: 3 }) }, async (request) => request.body)
  // @ts-expect-error: a policy's lockout takes its place
  app.get('/own', { config: { rateLimit: { max: 3, ban: 3 } } }, async () => 1)
  // @ts-expect-error: a policy's body or onExceeded takes its place
  app.get('/own', { config: { rateLimit: { max: 3, errorResponseBuilder: () => ({}) } } }, async () => 1)
  // @ts-expect-error: likewise
  app.rateLimit({ max: 3, ban: 3 })
  // @ts-expect-error: likewise
  app.createRateLimit({ max: 3, ban: 3 })
  // @ts-expect-error: a bucket refills by itself
  app.rateLimit({ max: 3, continueExceeding: true })
  const { isAllowed } = await app.createRateLimit({ max: 3, timeWindow: '1 minute' })({} as FastifyRequest)
  if (!isAllowed) app.log.info('limited')
  app.setNotFoundHandler({ preHandler: app.rateLimit({ max: 3, timeWindow: 500 }) }, async (_request, reply) => reply.code(404).send())
  // @ts-expect-error: no such policy
  app.get('/c', { config: { limiter: { policies: ['plans'] } } }, async () => 1)
}

// @ts-expect-error: misspelt
definePolicies({ client: { rate: 1, bursts: 2 } })
// @ts-expect-error: misspelt, and optional
definePolicies({ client: { rate: 1, burst: 2, kee: 'address' } })
// @ts-expect-error: no such stage
definePolicies({ client: { rate: 1, burst: 2, stage: 'onSend' } })
// @ts-expect-error: no such field of the error
definePolicies({ client: { rate: 1, burst: 2, body: (_request, error) => error.after } })
// @ts-expect-error: no such field of the refusal
definePolicies({ client: { rate: 1, burst: 2, onExceeded: (_request, refusal) => refusal.ip } })
// @ts-expect-error: no such period
definePolicies({ client: { rate: 1, burst: 2, per: 'week' } })
// @ts-expect-error: how many tokens?
definePolicies({ client: { rate: 1, burst: 2, charge: (_request, reply) => reply.statusCode === 401 } })
// @ts-expect-error: for how long?
definePolicies({ client: { rate: 1, burst: 2, lockout: { after: 3 } } })
// @ts-expect-error: request may be undefined, outside a request
definePolicies({ client: { rate: (_key, request) => request.raw.url?.length ?? 1, burst: 2 } })
// @ts-expect-error: what is refilled how fast?
definePolicies({ client: { burst: 2 } })
