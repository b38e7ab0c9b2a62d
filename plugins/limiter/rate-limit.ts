/**
 * The adapter on @fastify/rate-limit, the only file that knows it. It is registered once, with a store of token buckets.
 *
 * From it come `app.rateLimit()` and `app.createRateLimit()`, which go on working, on buckets: `max` tokens that flow back over
 * `timeWindow`; what the options of a route's `config.rateLimit` mean; and how addresses are grouped. A request's plan isn't
 * checked by it: its check takes three promises a request, which cost more than the decision, and its hooks on routes can check only
 * one limit a request, and throw, which costs twice what serving does.
 */
import { inspect } from 'node:util'
import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { LimitedError, LimitInvalidError } from '../errors.ts'
import { retryAfter } from './headers.ts'
import { checkedKey, createAddressKey, type AddressKey } from './keys.ts'
import { isPromise } from './maybe.ts'
import type { Demand, Store, Verdict } from './store.ts'

type Done = (error: Error | null, result?: { current: number, ttl: number }) => void
export type RateLimitOptions = NonNullable<Parameters<FastifyInstance['createRateLimit']>[0]>

/** What @fastify/rate-limit makes of a route's options; the rest is as it came. */
export interface MergedOptions {
  max: number | ((request: FastifyRequest, key: string) => number | Promise<number>)
  /** In ms. */
  timeWindow: number | ((request: FastifyRequest, key: string) => number | Promise<number>)
  keyGenerator: (request: FastifyRequest) => unknown
  ipv6Subnet: number
  skipOnError: boolean
}

/** A bucket of `max` tokens that flow back over `timeWindow` ms; undefined if there can be none, since nothing is allowed. */
export function windowShape (max: number, timeWindow: number): { rate: number, burst: number } | undefined {
  return max >= 1 && timeWindow > 0 ? { rate: max * 1000 / timeWindow, burst: max } : undefined
}

/** Addresses as keys, IPv6 by so many leading bits. */
export function addressKeyOf (ipv6Subnet: number): AddressKey {
  return createAddressKey((ip) => normalizeIP(ip, ipv6Subnet))
}

/** A key of the client's address as everywhere in the limiter: its own generator fails without an address and keeps the port that a proxy writes beside it. */
export function byAddress (ipv6Subnet: number): (request: FastifyRequest) => string {
  const addressKey = addressKeyOf(ipv6Subnet)
  return ({ ip }) => addressKey(ip)
}

/** Stands for the default, whose prefix is known when the options are merged. */
const defaultKey = (): never => { throw new Error('replaced for each limit') }

/** The store that @fastify/rate-limit sees. */
function storeClass (store: Store, onChild: (options: MergedOptions) => void) {
  let stores = 0
  return class BucketStore {
    // Counted in the order of creation, so that the processes of one application agree on it.
    readonly #policy = `@fastify/rate-limit ${stores++}`

    child (options: MergedOptions): BucketStore {
      // The object that its checks read. Buckets are never away, so all that there is to skip are mistakes.
      options.skipOnError = false
      if (options.keyGenerator === defaultKey) options.keyGenerator = byAddress(options.ipv6Subnet)
      onChild(options)
      return new BucketStore()
    }

    incr (key: unknown, done: Done, timeWindow: number, max: number): void {
      this.#decide(key, done, timeWindow, max, 1)
    }

    read (key: unknown, done: Done, timeWindow: number, max: number): void {
      this.#decide(key, done, timeWindow, max, 0)
    }

    /** Throws FC_ERR_LIMIT_INVALID: to @fastify/rate-limit NaN isn't exceeded, and it passes on the numbers that functions give as they are. */
    #decide (key: unknown, done: Done, timeWindow: number, max: number, cost: number): void {
      if (!Number.isFinite(max) || !Number.isFinite(timeWindow)) {
        throw new LimitInvalidError(this.#policy, 'max or timeWindow', 'a number, and milliseconds', inspect([max, timeWindow]))
      }
      const shape = windowShape(max, timeWindow)
      if (shape === undefined) return done(null, { current: max + 1, ttl: timeWindow })
      const demand: Demand = { policy: this.#policy, key: checkedKey(this.#policy, key) ?? '', ...shape, cost, onStoreError: 'local' }
      settle(store.take([demand], 0), ({ granted, outcomes: [outcome] }) => {
        const { tokens, wait } = outcome!
        const full = Math.max(0, max - tokens) * 1000 / shape.rate
        // It calls a request exceeded if `current` is above `max`.
        done(null, granted ? { current: max - Math.floor(Math.max(0, tokens)), ttl: full } : { current: max + 1, ttl: wait })
      }, done)
    }
  }
}

/** Without a promise where the store answers at once. */
function settle (verdict: Verdict | Promise<Verdict>, then: (verdict: Verdict) => void, done: Done): void {
  if (isPromise(verdict)) verdict.then(then, done)
  else then(verdict)
}

export interface RateLimitSettings {
  store: Store
  ipv6Subnet: number
  legacyHeaders: boolean
}

/** A route's `config.rateLimit` with its defaults, its durations in ms. */
export type Merge = (options: RateLimitOptions) => MergedOptions

export async function registerRateLimit (app: FastifyInstance, { store, ipv6Subnet, legacyHeaders }: RateLimitSettings): Promise<Merge> {
  const legacy = { 'x-ratelimit-limit': legacyHeaders, 'x-ratelimit-remaining': legacyHeaders, 'x-ratelimit-reset': legacyHeaders }
  let merged: MergedOptions | undefined
  const BucketStore = storeClass(store, (options) => { merged = options })
  await app.register(rateLimit, {
    global: false,
    store: BucketStore as unknown as NonNullable<RateLimitOptions['store']>,
    ipv6Subnet,
    keyGenerator: defaultKey,
    addHeaders: legacy,
    addHeadersOnExceeding: legacy,
    errorResponseBuilder: (_request, { ttl }) => new LimitedError(undefined, retryAfter(ttl))
  })

  return (options) => {
    app.createRateLimit(options)
    return merged!
  }
}
