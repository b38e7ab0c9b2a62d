// policies.ts
import { definePolicies } from 'fastify-concurrency/limiter'

const plans = new Map([['free-4711', { rate: 2, burst: 5 }], ['pro-0815', { rate: 20, burst: 50 }]])
const anonymous = { rate: 1, burst: 5 }

export const policies = definePolicies({
  service: { rate: 500, burst: 1_000, expose: false },              // one bucket for the whole service
  client: { rate: 600, per: 'minute', burst: 20, key: 'address' },  // one for each client
  plan: {                                                           // one for each API key, by plan
    key: { header: 'x-api-key', known: (key) => plans.has(key) },   // an invented key is no key
    missingKey: 'address',                                          // without a key: a bucket of the client's address
    rate: (key) => (plans.get(key) ?? anonymous).rate,
    burst: (key) => (plans.get(key) ?? anonymous).burst,
    routes: 'named'
  },
  outbound: { rate: 5, burst: 5, routes: 'named' },                 // asked for by code only
  db: { concurrency: 20, routes: 'named' },                         // how many at a time
  tenant: { concurrency: 50, key: (request) => String(request.headers['x-tenant']) }
})

declare module 'fastify-concurrency' {
  interface Register { policies: typeof policies }
}
