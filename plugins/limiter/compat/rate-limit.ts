/**
 * The adapter on @fastify/rate-limit, the only file that knows it. It is registered once, with a store of token buckets.
 *
 * From it come `app.rateLimit()` and `app.createRateLimit()`, which go on working, on buckets: `max` tokens that flow back over
 * `timeWindow`; what the options of a route's `config.rateLimit` mean; and how addresses are grouped. A request's plan isn't
 * checked by it: its check takes three promises a request, which cost more than the decision, and its hooks on routes can check only
 * one limit a request, and throw, which costs twice what serving does.
 */
import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { LimitedError, LimitInvalidError } from '../../shared/errors.ts'
import { resolveAllowList } from '../allow-list.ts'
import { brief, guarded } from '../functions.ts'
import { retryAfter } from '../headers.ts'
import { checkedKey, createAddressKey, storedKey, type AddressKey, type AddressOf } from '../keys.ts'
import { isPromise } from '../maybe.ts'
import type { Demand, Store, Verdict } from '../stores/store.ts'

type Done = (error: Error | null, result?: { current: number, ttl: number }) => void
export type RateLimitOptions = NonNullable<Parameters<FastifyInstance['createRateLimit']>[0]>

/** What @fastify/rate-limit makes of a route's options; the rest is as it came. */
export interface MergedOptions {
  max: number | ((request: FastifyRequest, key: string) => number | Promise<number>)
  /** In ms. */
  timeWindow: number | ((request: FastifyRequest, key: string) => number | Promise<number>)
  keyGenerator: (request: FastifyRequest) => unknown
  allowList: readonly string[] | ((request: FastifyRequest, key: string) => boolean | Promise<boolean>) | null
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

/** Stands for the default, whose prefix is known when the options are merged. */
const defaultKey = (): never => { throw new Error('replaced for each limit') }

/** The store that @fastify/rate-limit sees. */
function storeClass ({ store, addressOf, onAddressKey }: RateLimitSettings, onChild: (options: MergedOptions) => void) {
  let stores = 0
  /** The keys that are made of addresses: options without a key inherit that of the registration. */
  const defaultKeys = new WeakSet<object>([defaultKey])

  /**
   * Makes the options that the checks of @fastify/rate-limit read mean what they mean everywhere in the limiter. Its own key of an address
   * fails without an address and keeps the port that a proxy writes beside it.
   */
  function adapt (policy: string, options: MergedOptions): void {
    // Buckets are never away, so all that there is to skip are mistakes.
    options.skipOnError = false
    const isByAddress = defaultKeys.has(options.keyGenerator)
    if (isByAddress) {
      const addressKey = addressKeyOf(options.ipv6Subnet)
      options.keyGenerator = (request) => addressKey(addressOf(request))
      defaultKeys.add(options.keyGenerator)
    } else {
      options.keyGenerator = guarded(policy, 'keyGenerator', options.keyGenerator)
    }
    if (typeof options.max === 'function') options.max = guarded(policy, 'max', options.max) as typeof options.max
    if (typeof options.timeWindow === 'function') options.timeWindow = guarded(policy, 'timeWindow', options.timeWindow) as typeof options.timeWindow
    if (typeof options.allowList === 'function') {
      options.allowList = guarded(policy, 'allowList', options.allowList) as typeof options.allowList
    } else if (options.allowList !== null && options.allowList !== undefined) {
      const isListed = resolveAllowList('app.rateLimit().allowList', options.allowList, { limit: policy, isByAddress })!
      options.allowList = (request, key) => isListed(key, request.ip, request)
    }
  }

  return class BucketStore {
    // Counted in the order of creation, so that the processes of one application agree on it. The sign is in no policy's name.
    readonly #policy = `@fastify/rate-limit №${stores++}`

    /** @param options those of the registration, which checks without options of their own read; none for a child */
    constructor (options?: MergedOptions) {
      if (options !== undefined) adapt(this.#policy, options)
    }

    child (options: MergedOptions): BucketStore {
      if (defaultKeys.has(options.keyGenerator)) onAddressKey()
      const child = new BucketStore()
      adapt(child.#policy, options)
      onChild(options)
      return child
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
        throw new LimitInvalidError(this.#policy, 'max or timeWindow', 'a number, and milliseconds', `${brief(max)} and ${brief(timeWindow)}`)
      }
      const shape = windowShape(max, timeWindow)
      if (shape === undefined) return done(null, { current: max + 1, ttl: timeWindow })
      const demand: Demand = { policy: this.#policy, key: storedKey(checkedKey(this.#policy, key) ?? ''), ...shape, cost, onStoreError: 'local' }
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
  addressOf: AddressOf
  /** Called for each limit of `app.rateLimit()` and `app.createRateLimit()` that is by address. */
  onAddressKey: () => void
}

/** Fills in the default of a route's `max` and `timeWindow`, and turns a text like '1 minute' into ms. */
export type Merge = (options: Pick<RateLimitOptions, 'max' | 'timeWindow'>) => Pick<MergedOptions, 'max' | 'timeWindow'>

export async function registerRateLimit (app: FastifyInstance, settings: RateLimitSettings): Promise<Merge> {
  const { ipv6Subnet, legacyHeaders } = settings
  const legacy = { 'x-ratelimit-limit': legacyHeaders, 'x-ratelimit-remaining': legacyHeaders, 'x-ratelimit-reset': legacyHeaders }
  let merged: MergedOptions | undefined
  const BucketStore = storeClass(settings, (options) => { merged = options })
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
    app.createRateLimit({ ...options, keyGenerator: () => '' })
    return merged!
  }
}
