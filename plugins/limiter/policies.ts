/** The policies: their options, validated and compiled for the rest of the limiter. */
import type { FastifyRequest } from 'fastify'
import { LimitInvalidError, type LimitedError } from '../shared/errors.ts'
import { boolean, duration, ensure, fn, integer, MAX_DURATION, oneOf, record, text } from '../shared/options.ts'
import type { Register } from '../shared/register.ts'
import { keySet, resolveAllowList, type IsListed } from './allow-list.ts'
import type { LimitRefused } from './channels.ts'
import { refuseReplaced } from './compat/replaced.ts'
import { brief, guarded, type MaybePromise } from './functions.ts'
import type { AddressKey, KeyFunction, KeySource } from './keys.ts'
import type { Shape } from './stores/bucket.ts'
import type { Lockout, OnStoreError } from './stores/store.ts'
import { policyItem, quote } from './structured-fields.ts'

/**
 * A number, or a function that returns one, so that plans differ. The function may be asynchronous.
 *
 * `key` is the request's key as it came, or the client's address if the request has no key and `missingKey` is `'address'`.
 * `request` is undefined when code outside a request calls `app.limiter`: a task, a timer, a test.
 */
export type Tiered = number | ((key: string, request: FastifyRequest | undefined) => MaybePromise<number>)

/** When a policy is checked: as soon as the headers are there, or after authentication, before the handler. */
export type Stage = 'onRequest' | 'preHandler'

/** The time that a rate refers to. */
export type Period = 'second' | 'minute' | 'hour' | 'day'

/**
 * A header as the key. A client can send a new value with each request, and gets a fresh bucket for each. State which values are `known`,
 * or limit by address as well.
 */
export interface HeaderKey {
  /** The name of the header, in any case. */
  header: string
  /**
   * The keys that exist, or a function that tells whether a key does; it may be asynchronous. A request with any other key is treated as a
   * request without a key, as `missingKey` says. Without `known`, every value is a key.
   */
  known?: readonly string[] | ((key: string, request: FastifyRequest) => MaybePromise<boolean>)
}

/** What happens when a request is refused. The route's own option is used first, then the policy's, then the limiter's. */
export interface RefusalOptions {
  /** Makes the body of a 429; it may be asynchronous. `error.policy` is undefined if the policy isn't exposed. */
  body?: (request: FastifyRequest, error: LimitedError) => unknown
  /**
   * Called for each refused request, before its answer is sent. The answer waits for the function if it is asynchronous. If it throws, the
   * request fails with that error. To count or to log refusals, prefer the channel `fastify-concurrency:limiter:refused`.
   */
  onExceeded?: (request: FastifyRequest, refusal: LimitRefused) => unknown
}

export interface Policy extends RefusalOptions {
  /** Tokens that flow back in each period, above 0; `Infinity` is no limit. */
  rate: Tiered
  /**
   * The period that `rate` refers to. Tokens flow back steadily, not at the end of the period.
   * @default 'second'
   */
  per?: Period
  /** Tokens that a full bucket holds, a whole number from 1 to 1e9: how many requests may come at once. */
  burst: Tiered
  /**
   * Whose bucket a request takes from: that of the client's address (`'address'`, IPv6 by prefix), of a header, or of what a function
   * returns. Without a key the whole service shares one bucket.
   *
   * `{ header: 'x-api-key' }` alone is not a limit, because a client can invent a new key for each request. State the known keys too:
   * `{ header: 'x-api-key', known: (key) => plans.has(key) }`.
   */
  key?: 'address' | HeaderKey | KeyFunction
  /**
   * When the policy is checked. Use `preHandler` for a key that is known only after authentication.
   * @default 'onRequest'
   */
  stage?: Stage
  /**
   * Which routes the policy applies to: all, or those that name it in `config.limiter.policies`. Use `named` also for a policy that only
   * code asks for.
   * @default 'all'
   */
  routes?: 'all' | 'named'
  /**
   * What a request without a key gets: a 401, or a bucket of its address. It never bypasses the limit.
   * @default 'reject'
   */
  missingKey?: 'reject' | 'address'
  /**
   * Keys that aren't limited, or a function that tells whether a key is exempt; `request` is undefined in calls outside a request. For a
   * policy by address the list holds addresses, and networks like `'10.0.0.0/8'`: an IPv6 address on the list exempts that address only, not
   * its prefix.
   */
  allowList?: readonly string[] | ((key: string, request: FastifyRequest | undefined) => MaybePromise<boolean>)
  /**
   * Refuses a key for `duration` ms after `after` refusals, whatever flows back meanwhile. Use a lockout against clients that try again and
   * again, for example with passwords. Refusals are counted until the bucket is full again; refusals during the lockout don't prolong it.
   * `after` is a whole number of at least 1, `duration` at least 1 ms.
   * @default no lockout
   */
  lockout?: Lockout
  /**
   * What happens while Redis is away: `local` limits in this process's memory, `open` lets all requests pass, `closed` answers 503.
   * @default 'local'
   */
  onStoreError?: OnStoreError
  /**
   * Whether responses name the policy: in `RateLimit`, `RateLimit-Policy` and the body of a 429. Use false for a limit that isn't the
   * client's business.
   * @default true
   */
  expose?: boolean
}

export type Policies = Readonly<Record<string, Policy>>

/** The names of the registered policies; any string until the application augments `Register`. */
export type PolicyName = Register extends { policies: infer P } ? Extract<keyof P, string> : string

/** `RefusalOptions`, checked: what the functions throw is an Error. */
export interface ResolvedRefusal {
  readonly body: RefusalOptions['body']
  readonly onExceeded: RefusalOptions['onExceeded']
}

export interface ResolvedPolicy extends ResolvedRefusal {
  readonly name: string
  /** The name in the syntax of the header fields. */
  readonly quoted: string
  /** The policy's item of `RateLimit-Policy`, if its numbers are known at boot. */
  readonly item: string | undefined
  /** The numbers, or a function that returns them for a key. */
  readonly shape: Shape | ((key: string, request: FastifyRequest | undefined) => Promise<Shape>)
  readonly key: 'address' | 'none' | KeySource
  /** Makes keys of addresses. */
  readonly addressKey: AddressKey
  readonly stage: Stage
  readonly routes: 'all' | 'named'
  readonly missingKey: 'reject' | 'address'
  readonly isListed: IsListed | undefined
  readonly lockout: Lockout | undefined
  readonly onStoreError: OnStoreError
  readonly expose: boolean
}

/** @internal Every option, for the test that compares them with the docs. */
export const policyOptionNames = [
  'rate', 'per', 'burst', 'key', 'stage', 'routes', 'missingKey', 'allowList', 'lockout', 'onStoreError', 'expose', 'body', 'onExceeded'
] as const satisfies ReadonlyArray<keyof Policy>

const seconds = { second: 1, minute: 60, hour: 3_600, day: 86_400 } as const satisfies Record<Period, number>

/** Above this number, the balance of a bucket would lose single tokens in floating-point arithmetic. */
const MAX_BURST = 1e9

function isRate (rate: unknown): rate is number {
  return typeof rate === 'number' && rate > 0
}

function isBurst (burst: unknown): burst is number {
  return typeof burst === 'number' && Number.isInteger(burst) && burst >= 1 && burst <= MAX_BURST
}

const expected = {
  rate: 'a number of tokens above 0, or Infinity for no limit',
  burst: `a whole number from 1 to ${MAX_BURST}`
}

/** Reports whether the policy limits some requests by their address. */
export function limitsByAddress ({ key, missingKey }: ResolvedPolicy): boolean {
  return key === 'address' || missingKey === 'address'
}

/** Validates and compiles all policies, at boot. Throws FC_ERR_OPTION_INVALID. */
export function resolvePolicies (option: string, policies: unknown, addressKey: AddressKey): Map<string, ResolvedPolicy> {
  const entries = Object.entries(record(option, policies))
  return new Map(entries.map(([name, policy]) => [name, resolvePolicy(`${option}.${name}`, name, policy, addressKey)]))
}

function resolvePolicy (option: string, name: string, value: unknown, addressKey: AddressKey): ResolvedPolicy {
  // The fields of the responses are ASCII; quotes and backslashes are escaped there.
  ensure(/^[\x20-\x7e]{1,100}$/.test(name), option, 'a name of 1 to 100 printable ASCII characters', name)
  refuseReplaced(option, value, policyOptionNames)
  const policy = record(option, value, policyOptionNames) as Partial<Policy>
  const key = resolveKey(`${option}.key`, policy.key, name)
  const missingKey = oneOf(`${option}.missingKey`, policy.missingKey ?? 'reject', ['reject', 'address'])
  ensure(policy.missingKey === undefined || typeof key !== 'string', `${option}.missingKey`, 'a policy whose key can be missing: a header or a function', policy.missingKey)
  return {
    name,
    ...describeShape(name, resolveShape(option, name, policy)),
    key,
    addressKey,
    stage: oneOf(`${option}.stage`, policy.stage ?? 'onRequest', ['onRequest', 'preHandler']),
    routes: oneOf(`${option}.routes`, policy.routes ?? 'all', ['all', 'named']),
    missingKey,
    isListed: resolveAllowList(`${option}.allowList`, policy.allowList, { limit: name, isByAddress: key === 'address' }),
    lockout: policy.lockout === undefined ? undefined : resolveLockout(`${option}.lockout`, policy.lockout),
    onStoreError: oneOf(`${option}.onStoreError`, policy.onStoreError ?? 'local', ['local', 'open', 'closed']),
    expose: boolean(`${option}.expose`, policy.expose ?? true),
    ...resolveRefusal(option, name, policy)
  }
}

function resolveKey (option: string, key: Policy['key'], name: string): ResolvedPolicy['key'] {
  if (key === undefined) return 'none'
  if (key === 'address') return key
  if (typeof key === 'function') return guarded(name, 'key', key)
  ensure(typeof key === 'object' && key !== null, option, '\'address\', { header, known } or a function', key)
  const { header, known } = record(option, key, ['header', 'known']) as Partial<HeaderKey>
  const isKnown = typeof known === 'function' ? guarded(name, 'key.known', known) : known === undefined ? undefined : keySet(`${option}.known`, known)
  return { header: text(`${option}.header`, header).toLowerCase(), isKnown }
}

function resolveShape (option: string, name: string, { rate, per, burst }: Partial<Policy>): ResolvedPolicy['shape'] {
  ensure(typeof rate === 'function' || isRate(rate), `${option}.rate`, `${expected.rate}, or a function`, rate)
  ensure(typeof burst === 'function' || isBurst(burst), `${option}.burst`, `${expected.burst}, or a function`, burst)
  const period = seconds[oneOf(`${option}.per`, per ?? 'second', Object.keys(seconds) as Period[])]
  if (typeof rate === 'number' && typeof burst === 'number') return { rate: rate / period, burst }
  const rateOf = typeof rate === 'function' ? guarded(name, 'rate', rate) : () => rate
  const burstOf = typeof burst === 'function' ? guarded(name, 'burst', burst) : () => burst
  return async (key, request) => {
    const shape = { rate: await rateOf(key, request), burst: await burstOf(key, request) }
    // A wrong number must not mean no limit.
    if (!isRate(shape.rate)) throw new LimitInvalidError(name, 'rate', expected.rate, brief(shape.rate))
    if (!isBurst(shape.burst)) throw new LimitInvalidError(name, 'burst', expected.burst, brief(shape.burst))
    return { rate: shape.rate / period, burst: shape.burst }
  }
}

function resolveLockout (option: string, value: unknown): Lockout {
  const lockout = record(option, value, ['after', 'duration'])
  return {
    after: integer(`${option}.after`, lockout['after'], { min: 1 }),
    duration: duration(`${option}.duration`, lockout['duration'], { min: 1, max: MAX_DURATION })
  }
}

/** @param limit the policy whose functions these are; '*' for those of the limiter or of a route */
export function resolveRefusal (option: string, limit: string, { body, onExceeded }: RefusalOptions): ResolvedRefusal {
  return {
    body: body === undefined ? undefined : guarded(limit, 'body', fn<typeof body>(`${option}.body`, body)),
    onExceeded: onExceeded === undefined ? undefined : guarded(limit, 'onExceeded', fn<typeof onExceeded>(`${option}.onExceeded`, onExceeded))
  }
}

/** Returns a shape together with its text in header fields. */
export function describeShape (name: string, shape: ResolvedPolicy['shape']): Pick<ResolvedPolicy, 'shape' | 'quoted' | 'item'> {
  const quoted = quote(name)
  return { shape, quoted, item: typeof shape === 'object' ? policyItem(quoted, shape) : undefined }
}
