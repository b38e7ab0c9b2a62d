/** What this service lets its clients do. Imported by app.ts; `npm start` keeps the buckets in memory, `REDIS_URL=… npm start` shares them. */
import { definePolicies } from 'fastify-concurrency/limiter'

/** Requests a second, and how many at once, by plan. */
const plans = {
  free: { rate: 2, burst: 5 },
  pro: { rate: 20, burst: 50 },
  enterprise: { rate: 200, burst: 500 }
}

/** A real service would look keys up; here a key says its plan: `X-API-Key: pro-ada`. A client without one has the free plan of its address. */
function planOf (key: string): { rate: number, burst: number } {
  const plan = key.split('-')[0] as keyof typeof plans
  return Object.hasOwn(plans, plan) ? plans[plan] : plans.free
}

export const policies = definePolicies({
  // What the machine can bear, whoever asks; nobody's own limit, so no response names it.
  service: { rate: 1_000, burst: 2_000, expose: false },
  client: { rate: 20, burst: 60, key: 'address' },
  // On /search, by `config: { limiter: { policies: ['plan'] } }`.
  plan: {
    rate: (key) => planOf(key).rate,
    burst: (key) => planOf(key).burst,
    key: { header: 'x-api-key' },
    missingKey: 'address',
    routes: 'named'
  },
  // What the mail server takes from us: `await app.limiter.wait('outbound')` in routes/users.ts.
  outbound: { rate: 100, burst: 100, routes: 'named' }
})

declare module 'fastify-concurrency' {
  interface Register { policies: typeof policies }
}
