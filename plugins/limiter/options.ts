/** The limiter's options, validated and compiled. */
import type { FastifyRequest } from 'fastify'
import { boolean, duration, ensure, fn, integer, MAX_DURATION, record, text } from '../shared/options.ts'
import { addressList } from './policies/allow-list.ts'
import { replaced } from './compat/replaced.ts'
import { guarded, type MaybePromise } from './functions.ts'
import type { Policies, RefusalOptions } from './policies/policy.ts'
import { resolveConcurrencies, resolvePolicies, resolveRefusal } from './policies/resolve.ts'
import { adapt, type RedisClient } from './stores/redis-client.ts'
import type { Clock } from './stores/store.ts'

export interface LimiterOptions extends RefusalOptions {
  /** The limits, by name. At least one. */
  policies: Policies
  /**
   * A client of Redis or Valkey, so that processes share their limits: a constructed client of ioredis, iovalkey, node-redis (the package
   * `redis`, connected) or Valkey GLIDE. Without a client, limits are in this process's memory.
   *
   * **The client stays yours to close.** An open client keeps the process alive after `app.close()`: close it in an `onClose` hook.
   */
  redis?: RedisClient
  /**
   * Text before every key in Redis, without braces. Apps that share a Redis need different prefixes. In a cluster, each prefix is on one node.
   * @default 'fastify-concurrency'
   */
  prefix?: string
  /**
   * How many ms Redis may take for a decision, at least 1. After that time the policies' `onStoreError` decides.
   * @default 100
   */
  storeTimeout?: number
  /**
   * How many keys of each policy are kept in memory, at least 1; about 200 bytes each. Further keys share one bucket until there is
   * capacity again.
   * @default 100_000
   */
  maxKeys?: number
  /** Addresses, and networks like `'10.0.0.0/8'`, that no policy limits; or a function that reports whether a request is exempt. */
  allowList?: readonly string[] | ((request: FastifyRequest) => MaybePromise<boolean>)
  /**
   * How many leading bits of an IPv6 address make the key, from 1 to 128. A client usually has a whole /64 to itself.
   * @default 64
   */
  ipv6Subnet?: number
  /**
   * Sends `X-RateLimit-Limit`, `-Remaining` and `-Reset` too.
   * @default false
   */
  legacyHeaders?: boolean
  /**
   * How many ms `limiter.wait` may wait, and `limiter.reserve` may look ahead, unless the call says otherwise.
   * @default 30_000
   */
  waitTimeout?: number
  /**
   * How many calls of `limiter.wait` may wait at once in this process.
   * @default 1_000
   */
  maxWaiting?: number
  /**
   * How many calls of `limiter.wait` may wait at once for the same key of a policy.
   * @default 100
   */
  maxWaitingPerKey?: number
  /**
   * Detect the current request automatically, so that `limiter.wait` stops when the client leaves.
   * @default true
   */
  ambient?: boolean
  /** The clock of the memory store, for tests: an object whose `now()` returns milliseconds. */
  clock?: Clock
}

export type ResolvedOptions = ReturnType<typeof resolveOptions>

/** @internal Every option, for the test that compares them with the docs. */
export const limiterOptionNames = [
  'policies', 'redis', 'prefix', 'storeTimeout', 'maxKeys', 'allowList', 'ipv6Subnet', 'legacyHeaders', 'body', 'onExceeded',
  'waitTimeout', 'maxWaiting', 'maxWaitingPerKey', 'ambient', 'clock'
] as const satisfies ReadonlyArray<keyof LimiterOptions>

export function resolveOptions (options: LimiterOptions) {
  record('limiter', options, limiterOptionNames, replaced)
  const ipv6Subnet = integer('limiter.ipv6Subnet', options.ipv6Subnet ?? 64, { min: 1, max: 128 })
  const policies = resolvePolicies('limiter.policies', options.policies, ipv6Subnet)
  const concurrencies = resolveConcurrencies('limiter.policies', options.policies)
  ensure(policies.size + concurrencies.size > 0, 'limiter.policies', 'at least one policy', options.policies)
  const { redis, clock = performance, allowList } = options
  const prefix = text('limiter.prefix', options.prefix ?? 'fastify-concurrency')
  // Braces would end the hash tag early, and the keys of one script would lie on several nodes.
  ensure(!/[{}]/.test(prefix), 'limiter.prefix', 'a text without braces', prefix)
  fn('limiter.clock.now', record('limiter.clock', clock)['now'])
  ensure(Number.isFinite(clock.now()), 'limiter.clock.now', 'a function that returns milliseconds', clock.now())
  return {
    policies,
    concurrencies,
    redis: redis === undefined ? undefined : adapt('limiter.redis', redis),
    prefix,
    storeTimeout: duration('limiter.storeTimeout', options.storeTimeout ?? 100, { min: 1, max: MAX_DURATION }),
    maxKeys: integer('limiter.maxKeys', options.maxKeys ?? 100_000, { min: 1 }),
    /** `allowList`, if it is a list. */
    exemptAddresses: allowList === undefined || typeof allowList === 'function' ? undefined : addressList('limiter.allowList', allowList),
    /** `allowList`, if it is a function. */
    isExempt: typeof allowList === 'function' ? guarded('*', 'allowList', allowList) : undefined,
    ipv6Subnet,
    legacyHeaders: boolean('limiter.legacyHeaders', options.legacyHeaders ?? false),
    ...resolveRefusal('limiter', '*', options),
    waitTimeout: duration('limiter.waitTimeout', options.waitTimeout ?? 30_000, { min: 0, max: MAX_DURATION }),
    maxWaiting: integer('limiter.maxWaiting', options.maxWaiting ?? 1_000, { min: 0 }),
    maxWaitingPerKey: integer('limiter.maxWaitingPerKey', options.maxWaitingPerKey ?? 100, { min: 0 }),
    ambient: boolean('limiter.ambient', options.ambient ?? true),
    clock
  }
}
