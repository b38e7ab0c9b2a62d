/**
 * The adapter on @fastify/rate-limit: no other file knows that package. The adapter registers the package once, with a store of token buckets.
 *
 * The package provides two things: `app.rateLimit()` and `app.createRateLimit()`, which work on buckets of `max` tokens that flow back over
 * `timeWindow`, and the meaning of the options of a route's `config.rateLimit`. The package doesn't check the policies of requests. Its check takes three promises for each request, which cost more than the decision. Its hooks on routes check one
 * limit for each request, and throw, which costs twice as much as serving a request.
 */
// @ts-expect-error: its types would give `config.rateLimit` options that the limiter refuses
import untyped from '@fastify/rate-limit/index.js'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import { addressKey } from '../../shared/address-key.ts'
import { wholeSeconds } from '../../shared/coded-error.ts'
import { describe } from '../../shared/describe.ts'
import { LimitedError, LimitInvalidError } from '../../shared/errors.ts'
import { ensure } from '../../shared/options.ts'
import { resolveAllowList } from '../policies/allow-list.ts'
import { guarded, isPromise } from '../functions.ts'
import { checkedKey, storedKey } from '../policies/keys.ts'
import type { Charge, Decision, Store } from '../stores/store.ts'
import { replaced } from './replaced.ts'
import type { CreateRateLimitOptions } from './types.ts'

const rateLimit = untyped as FastifyPluginAsync<Record<string, unknown>>

type NumberOf = (request: FastifyRequest, key: string) => number | Promise<number>

/** A route's options after @fastify/rate-limit merged them with its defaults. Options that aren't named here stay as they came. */
export interface MergedOptions {
  max: number | NumberOf
  /** In ms. */
  timeWindow: number | NumberOf
  keyGenerator: (request: FastifyRequest) => unknown
  allowList?: readonly string[] | ((request: FastifyRequest, key: string) => boolean | Promise<boolean>) | null
  ipv6Subnet: number
  skipOnError: boolean
  ban: number
  continueExceeding: boolean
  exponentialBackoff: boolean
}

/** The options that would do nothing on a bucket, with the values that stand for none. */
const meaningless = { ban: -1, continueExceeding: false, exponentialBackoff: false } as const

/** Returns the shape of a bucket of `max` tokens that flow back over `timeWindow` ms; undefined if the numbers allow nothing. */
export function windowShape (max: number, timeWindow: number): { rate: number, burst: number } | undefined {
  return max >= 1 && timeWindow > 0 ? { rate: max * 1000 / timeWindow, burst: max } : undefined
}

export interface RateLimitSettings {
  store: Store
  ipv6Subnet: number
  legacyHeaders: boolean
  addressOf: (request: FastifyRequest) => string
  /** Called for each limit of `app.rateLimit()` and `app.createRateLimit()` that is by address. */
  onAddressKey: () => void
}

/** A placeholder for the default key, which needs the `ipv6Subnet` of the merged options. */
const defaultKey = (): never => { throw new Error('replaced for each limit') }

/** Makes the store class that @fastify/rate-limit calls. */
function storeClass ({ store, addressOf, onAddressKey }: RateLimitSettings, onChild: (options: MergedOptions) => void) {
  let stores = 0
  /** The key functions that make keys of addresses. Options without a key inherit the key function of the registration. */
  const defaultKeys = new WeakSet<object>([defaultKey])

  /**
   * Changes the options that the checks of @fastify/rate-limit read, so that they mean the same as everywhere in the limiter. The package's
   * own key of an address fails without an address, and keeps the port that a proxy writes beside the address.
   */
  function adapt (policy: string, options: MergedOptions): void {
    const { keyGenerator, max, timeWindow, allowList } = options
    // Buckets are never away, so the only errors that could be skipped are mistakes.
    options.skipOnError = false
    const isByAddress = defaultKeys.has(keyGenerator)
    options.keyGenerator = isByAddress ? (request) => addressKey(addressOf(request), options.ipv6Subnet) : guarded(policy, 'keyGenerator', keyGenerator)
    if (isByAddress) defaultKeys.add(options.keyGenerator)
    if (typeof max === 'function') options.max = guarded(policy, 'max', max)
    if (typeof timeWindow === 'function') options.timeWindow = guarded(policy, 'timeWindow', timeWindow)
    if (typeof allowList === 'function') {
      options.allowList = guarded(policy, 'allowList', allowList)
    } else {
      const isListed = resolveAllowList('app.rateLimit().allowList', allowList ?? undefined, { limit: policy, isByAddress })
      if (isListed !== undefined) options.allowList = (request, key) => isListed(key, request.ip, request)
    }
  }

  return class BucketStore {
    // Stores are numbered in the order of creation, so that the processes of one application agree. No policy's name can contain the sign.
    readonly #policy = `@fastify/rate-limit №${stores++}`

    /** @param options the options of the registration, which checks without options of their own read; undefined for a child */
    constructor (options?: object) {
      if (options !== undefined) adapt(this.#policy, options as MergedOptions)
    }

    child (routeOptions: object): BucketStore {
      const options = routeOptions as MergedOptions
      for (const [name, unset] of Object.entries(meaningless)) {
        const value = options[name as keyof typeof meaningless]
        ensure(value === unset, `app.rateLimit().${name}`, replaced.get(name) ?? 'nothing', value)
      }
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

    /**
     * Throws FC_ERR_LIMIT_INVALID for numbers that can't be used. @fastify/rate-limit passes on what the application's functions return, and
     * would take NaN for a limit that is never exceeded.
     */
    #decide (key: unknown, done: Done, timeWindow: number, max: number, cost: number): void {
      if (!Number.isFinite(max) || !Number.isFinite(timeWindow)) {
        const received = `${describe(max)} and ${describe(timeWindow)}`
        throw new LimitInvalidError(this.#policy, 'max or timeWindow', 'a number, and milliseconds', received)
      }
      const shape = windowShape(max, timeWindow)
      // @fastify/rate-limit refuses a request if `current` is above `max`.
      if (shape === undefined) return done(null, { current: max + 1, ttl: timeWindow })
      const charge: Charge = { policy: this.#policy, key: storedKey(checkedKey(this.#policy, key) ?? ''), ...shape, cost, onStoreError: 'local' }
      const answer = ({ granted, balances }: Decision): void => {
        for (const { tokens, wait } of balances) {
          const full = Math.max(0, max - tokens) * 1000 / shape.rate
          done(null, granted ? { current: max - Math.floor(Math.max(0, tokens)), ttl: full } : { current: max + 1, ttl: wait })
        }
      }
      const decision = store.take([charge], 0)
      if (isPromise(decision)) decision.then(answer, done)
      else answer(decision)
    }
  }
}

type Done = (error: Error | null, result?: { current: number, ttl: number }) => void

/** Fills in the defaults of a route's `max` and `timeWindow`, and converts a text like '1 minute' to ms. */
export type Merge = (options: Pick<CreateRateLimitOptions, 'max' | 'timeWindow'>) => Pick<MergedOptions, 'max' | 'timeWindow'>

export async function registerRateLimit (app: FastifyInstance, settings: RateLimitSettings): Promise<Merge> {
  const { ipv6Subnet, legacyHeaders } = settings
  const legacy = { 'x-ratelimit-limit': legacyHeaders, 'x-ratelimit-remaining': legacyHeaders, 'x-ratelimit-reset': legacyHeaders }
  let merged: Pick<MergedOptions, 'max' | 'timeWindow'> = { max: NaN, timeWindow: NaN }
  await app.register(rateLimit, {
    global: false,
    store: storeClass(settings, (options) => { merged = options }),
    ipv6Subnet,
    keyGenerator: defaultKey,
    addHeaders: legacy,
    addHeadersOnExceeding: legacy,
    errorResponseBuilder: (_request: unknown, { ttl }: { ttl: number }) => new LimitedError(undefined, wholeSeconds(ttl))
  })

  return (options) => {
    app.createRateLimit({ ...options, keyGenerator: () => '' })
    return merged
  }
}
