/** A policy that bounds how many run at a time, as an application states it and as it is compiled. */
import type { FastifyRequest } from 'fastify'
import { duration, fn, integer, MAX_DURATION, oneOf, record } from '../../shared/options.ts'

/** A policy that bounds how many requests run at a time, in place of how many begin. */
export interface ConcurrencyPolicy {
  /**
   * How many may run at a time for each key: a whole number of at least 1. For a database, take twice the connections
   * of its pool: a number that is too low loses what it is too low by, and one that is too high costs little, since
   * the wait is bounded.
   */
  concurrency: number
  /**
   * How long a request or a call waits at most, in ms. One that would wait longer is refused at once.
   * @default 250
   */
  maxWait?: number
  /**
   * How many may wait for a key at a time.
   * @default 1000
   */
  maxWaiting?: number
  /**
   * Whose bound it is, of a request: a tenant, say. It may not be asynchronous, and a request without a key gets a 401.
   * Without this option the whole service shares one bound.
   * @default none
   */
  key?: (request: FastifyRequest) => string | number | bigint | null | undefined
  /**
   * Use `'preHandler'` for a key that is known only after authentication: the permit is taken after all other
   * preHandler hooks, and so before the handler only.
   * @default before the preHandler hooks of the application
   */
  stage?: 'preHandler'
  /**
   * The status of a refusal. Use 429 for a bound of the client's own, which other clients' requests don't fill.
   * @default 503
   */
  status?: 429 | 503
  /**
   * Which routes the policy applies to: all, or those that name it in `config.limiter.policies`. Use `named` also for
   * a policy that only code asks for, by `app.limiter.run()`.
   * @default 'all'
   */
  routes?: 'all' | 'named'
}

/** @internal Every option, for the test that compares them with the docs. */
export const concurrencyOptionNames = ['concurrency', 'maxWait', 'maxWaiting', 'key', 'stage', 'status',
  'routes'] as const satisfies ReadonlyArray<keyof ConcurrencyPolicy>

export type ResolvedConcurrency = ReturnType<typeof resolveConcurrency>

/** Tells whether a policy bounds concurrency, and not a rate. */
export function boundsConcurrency (policy: unknown): policy is ConcurrencyPolicy {
  return typeof policy === 'object' && policy !== null && 'concurrency' in policy
}

export function resolveConcurrency (option: string, name: string, value: unknown) {
  const policy = record(option, value, concurrencyOptionNames) as Partial<ConcurrencyPolicy>
  return {
    name,
    concurrency: integer(`${option}.concurrency`, policy.concurrency, { min: 1 }),
    maxWait: duration(`${option}.maxWait`, policy.maxWait ?? 250, { min: 0, max: MAX_DURATION }),
    maxWaiting: integer(`${option}.maxWaiting`, policy.maxWaiting ?? 1_000, { min: 0 }),
    key: policy.key === undefined ? undefined : fn<NonNullable<ConcurrencyPolicy['key']>>(`${option}.key`, policy.key),
    stage: policy.stage === undefined ? undefined : oneOf(`${option}.stage`, policy.stage, ['preHandler']),
    status: oneOf(`${option}.status`, policy.status ?? 503, [429, 503]),
    routes: oneOf(`${option}.routes`, policy.routes ?? 'all', ['all', 'named'])
  }
}
