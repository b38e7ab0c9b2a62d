/**
 * The adapter on @fastify/rate-limit, the only file that knows it. It is registered once, with a store of token buckets.
 *
 * A request's plan takes the place of the key: what `keyGenerator` returns reaches `store.incr` untouched. So the limit is checked by
 * @fastify/rate-limit, and decided by our store on all policies at once. Its own hooks on routes aren't used: they
 * can check only one limit a request, and they throw, which costs twice what serving does.
 *
 * `app.rateLimit()` and `app.createRateLimit()` go on working, on buckets: `max` tokens that flow back over `timeWindow`.
 */
import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { LimitedError } from '../errors.ts'
import { retryAfter } from './headers.ts'
import type { MaybePromise } from './maybe.ts'
import { Plan } from './plan.ts'
import type { Demand, Store, Verdict } from './store.ts'

type Done = (error: Error | null, result?: { current: number, ttl: number }) => void
export type RateLimitOptions = NonNullable<Parameters<FastifyInstance['createRateLimit']>[0]>

/** What @fastify/rate-limit makes of a route's options; the rest is as it came. */
export interface MergedOptions {
  max: number | ((request: FastifyRequest, key: string) => number | Promise<number>)
  /** In ms. */
  timeWindow: number | ((request: FastifyRequest, key: string) => number | Promise<number>)
}

/** A bucket of `max` tokens that flow back over `timeWindow` ms; undefined if there can be none, since nothing is allowed. */
export function windowShape (max: number, timeWindow: number): { rate: number, burst: number } | undefined {
  return max >= 1 && timeWindow > 0 ? { rate: max * 1000 / timeWindow, burst: max } : undefined
}

/** The store that @fastify/rate-limit sees. */
function storeClass (store: Store, onChild: (options: MergedOptions) => void) {
  let stores = 0
  return class BucketStore {
    // Counted in the order of creation, so that the processes of one application agree on it.
    readonly #policy = `@fastify/rate-limit ${stores++}`

    child (options: MergedOptions): BucketStore {
      onChild(options)
      return new BucketStore()
    }

    incr (key: Plan | string, done: Done, timeWindow: number, max: number): void {
      if (key instanceof Plan) decidePlan(store, key, done)
      else this.#decide(key, done, timeWindow, max, 1)
    }

    read (key: string, done: Done, timeWindow: number, max: number): void {
      this.#decide(key, done, timeWindow, max, 0)
    }

    #decide (key: string, done: Done, timeWindow: number, max: number, cost: number): void {
      const shape = windowShape(max, timeWindow)
      if (shape === undefined) return done(null, { current: max + 1, ttl: timeWindow })
      const demand: Demand = { policy: this.#policy, key: String(key), ...shape, cost, onStoreError: 'local' }
      settle(store.take([demand], 0), ({ granted, outcomes: [outcome] }) => {
        const { tokens, wait } = outcome!
        const full = Math.max(0, max - tokens) * 1000 / shape.rate
        // It calls a request exceeded if `current` is above `max`.
        done(null, granted ? { current: max - Math.floor(Math.max(0, tokens)), ttl: full } : { current: max + 1, ttl: wait })
      }, done)
    }
  }
}

const notLimited = { granted: true, outcomes: [], at: 0, store: undefined } satisfies Verdict

function decidePlan (store: Store, plan: Plan, done: Done): void {
  settle(plan.demands.length === 0 ? notLimited : store.take(plan.demands, 0), (verdict) => {
    plan.verdict = verdict
    done(null, { current: verdict.granted ? 0 : Infinity, ttl: 0 })
  }, done)
}

/** Without a promise where the store answers at once. */
function settle (verdict: Verdict | Promise<Verdict>, then: (verdict: Verdict) => void, done: Done): void {
  if (verdict instanceof Promise) verdict.then(then, done)
  else then(verdict)
}

export const normalizeAddress: (ip: string, ipv6Subnet: number) => string = normalizeIP

export interface RateLimitSettings {
  store: Store
  ipv6Subnet: number
  legacyHeaders: boolean
}

/** Resolves with the decided plan as `key`. */
export type Check = (request: FastifyRequest) => Promise<{ key: Plan }>

export interface RateLimit {
  /** The check for one stage. */
  createCheck (plan: (request: FastifyRequest) => MaybePromise<Plan>): Check
  /** A route's `config.rateLimit` with its defaults, its durations in ms. */
  merge (options: RateLimitOptions): MergedOptions
}

export async function registerRateLimit (app: FastifyInstance, { store, ipv6Subnet, legacyHeaders }: RateLimitSettings): Promise<RateLimit> {
  const legacy = { 'x-ratelimit-limit': legacyHeaders, 'x-ratelimit-remaining': legacyHeaders, 'x-ratelimit-reset': legacyHeaders }
  let merged: MergedOptions | undefined
  const BucketStore = storeClass(store, (options) => { merged = options })
  await app.register(rateLimit, {
    global: false,
    store: BucketStore as unknown as NonNullable<RateLimitOptions['store']>,
    ipv6Subnet,
    addHeaders: legacy,
    addHeadersOnExceeding: legacy,
    errorResponseBuilder: (_request, { ttl }) => new LimitedError(undefined, retryAfter(ttl))
  })

  return {
    createCheck (plan) {
      // Typed for strings; that an object passes is pinned by a test.
      const keyGenerator = plan as unknown as NonNullable<RateLimitOptions['keyGenerator']>
      return app.createRateLimit({ max: 1, timeWindow: 1, keyGenerator }) as unknown as Check
    },
    merge (options) {
      app.createRateLimit(options)
      return merged!
    }
  }
}
