// policies.ts
import { definePolicies } from 'fastify-concurrency/limiter'

export const policies = definePolicies({
  attempts: { rate: 1, burst: 20, key: 'address', routes: 'named' },   // every attempt of an address
  failures: {                                                          // failures of an account
    rate: 20,                                                          // 5 at once, then one more each 3 minutes: 25 in the first hour
    per: 'hour',
    burst: 5,
    routes: 'named',
    lockout: { after: 2, duration: 60 * 60_000 }                       // after 2 further attempts, none for an hour
  }
})

declare module 'fastify-concurrency' {
  interface Register { policies: typeof policies }
}
