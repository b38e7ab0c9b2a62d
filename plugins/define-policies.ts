/** Apart from the limiter, so that naming one's policies loads nothing of it. */
import type { ConcurrencyPolicy } from './limiter/concurrency/policy.ts'
import type { Policy } from './limiter/policies/policy.ts'

/**
 * Types a table of policies, so that `declare module 'fastify-concurrency' { interface Register { policies: typeof policies } }` types their names.
 * They are checked when the limiter is registered.
 *
 * @example
 * export const policies = definePolicies({
 *   service: { rate: 500, burst: 1_000, expose: false },
 *   client: { rate: 10, burst: 20, key: 'address' }
 * })
 */
export function definePolicies<Name extends string> (policies: Readonly<Record<Name, Policy | ConcurrencyPolicy>>): Readonly<Record<Name, Policy | ConcurrencyPolicy>> {
  return policies
}
