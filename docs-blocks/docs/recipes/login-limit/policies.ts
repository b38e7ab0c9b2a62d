// policies.ts
import { definePolicies } from 'fastify-concurrency/limiter'

export const policies = definePolicies({
  attempts: { rate: 1, burst: 20, key: 'address', routes: 'named' },   // every attempt of an address
  failures: {                                                          // failures of an account
    rate: 20,                                                          // 5 at once, then one more each 3 minutes: 24 in the first hour
    per: 'hour',
    burst: 5,
    routes: 'named',
    stage: 'preHandler',                                               // the account is in the body
    key: (request) => (request.body as { user: string }).user,
    charge: (_request, reply) => reply.statusCode === 401 ? 1 : 0,     // only a failure costs a token
    lockout: { after: 2, duration: 60 * 60_000 }                       // after 2 further attempts, none for an hour
  }
})

declare module 'fastify-concurrency' {
  interface Register { policies: typeof policies }
}
