/** What an application says about its limits, and what the rest of the limiter reads. */
import type { FastifyRequest } from 'fastify'
import { LimitInvalidError } from '../shared/errors.ts'
import { boolean, ensure, oneOf, record, text } from '../shared/options.ts'
import type { Register } from '../shared/register.ts'
import { resolveAllowList, type IsListed } from './allow-list.ts'
import type { Shape } from './stores/bucket.ts'
import { brief, guarded, type MaybePromise } from './functions.ts'
import type { AddressKey, KeyFunction } from './keys.ts'
import type { OnStoreError } from './stores/store.ts'
import { policyItem, quote } from './structured-fields.ts'

/** A number, or a function that returns one, so that tiers differ. `request` is undefined in calls outside a request. */
export type Tiered = number | ((key: string, request: FastifyRequest | undefined) => MaybePromise<number>)

/** When a policy is checked: as soon as the headers are there, or after authentication, before the handler. */
export type Stage = 'onRequest' | 'preHandler'

export interface Policy {
  /** Tokens that flow back each second, above 0; `Infinity` is no limit. */
  rate: Tiered
  /** Tokens that a full bucket holds, a whole number from 1 to 1e9: how much may come at once. */
  burst: Tiered
  /**
   * What each bucket belongs to: `'address'`, the client's address (IPv6 by prefix); a header; or what a function returns.
   * Without a key the whole service shares one bucket.
   */
  key?: 'address' | { header: string } | KeyFunction
  /**
   * When the policy is checked. Use `preHandler` for a key that is known only after authentication.
   * @default 'onRequest'
   */
  stage?: Stage
  /**
   * Which routes the policy applies to: all, or those that name it in `config.limiter.policies`. Use `named` too for a policy that only
   * code
   * asks for.
   * @default 'all'
   */
  routes?: 'all' | 'named'
  /**
   * What a request without the key gets: a 401, or a bucket of its address. It never bypasses the limit.
   * @default 'reject'
   */
  missingKey?: 'reject' | 'address'
  /**
   * Keys that aren't limited, or a function that tells whether a key is; `request` is undefined in calls outside a request. For a policy by
   * address the list holds addresses, and networks like `'10.0.0.0/8'`: an IPv6 address on it exempts that address only, not its prefix.
   */
  allowList?: readonly string[] | ((key: string, request: FastifyRequest | undefined) => MaybePromise<boolean>)
  /**
   * What happens while Redis is away: `local` limits in this process's memory, `open` lets all pass, `closed` answers 503.
   * @default 'local'
   */
  onStoreError?: OnStoreError
  /**
   * Whether responses name the policy: in `RateLimit`, `RateLimit-Policy` and the body of a 429. Use false for a limit that isn't the
   * client's own.
   * @default true
   */
  expose?: boolean
}

export type Policies = Readonly<Record<string, Policy>>

/** The names of the registered policies; any string until the application augments `Register`. */
export type PolicyName = Register extends { policies: infer P } ? Extract<keyof P, string> : string

export interface ResolvedPolicy {
  readonly name: string
  /** The name as the fields of a response write it. */
  readonly quoted: string
  /** Its item of `RateLimit-Policy`, if its numbers are known at boot. */
  readonly item: string | undefined
  /** The numbers, or what returns them for a key. */
  readonly shape: Shape | ((key: string, request: FastifyRequest | undefined) => Promise<Shape>)
  readonly key: 'address' | 'none' | { readonly header: string } | KeyFunction
  /** Makes keys of addresses. */
  readonly addressKey: AddressKey
  readonly stage: Stage
  readonly routes: 'all' | 'named'
  readonly missingKey: 'reject' | 'address'
  readonly isListed: IsListed | undefined
  readonly onStoreError: OnStoreError
  readonly expose: boolean
}

/** @internal Every option, for the test that compares them with the docs. */
export const policyOptionNames = ['rate', 'burst', 'key', 'stage', 'routes', 'missingKey', 'allowList', 'onStoreError', 'expose'] as const satisfies ReadonlyArray<keyof Policy>

/** Above it, floating point can't count single tokens. */
const MAX_BURST = 1e9

function isRate (rate: unknown): rate is number {
  return typeof rate === 'number' && rate > 0
}

function isBurst (burst: unknown): burst is number {
  return typeof burst === 'number' && Number.isInteger(burst) && burst >= 1 && burst <= MAX_BURST
}

const expected = {
  rate: 'tokens a second: a number above 0, or Infinity for no limit',
  burst: `a whole number from 1 to ${MAX_BURST}`
}

/** Tells whether the policy limits some requests by their address. */
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
  const policy = record(option, value, policyOptionNames) as Partial<Policy>
  const key = resolveKey(`${option}.key`, policy.key, name)
  const missingKey = oneOf(`${option}.missingKey`, policy.missingKey ?? 'reject', ['reject', 'address'])
  ensure(policy.missingKey === undefined || typeof key !== 'string', `${option}.missingKey`, 'a policy whose key can be missing: a header or a function', policy.missingKey)
  return {
    name,
    ...describeShape(name, resolveShape(option, name, policy.rate, policy.burst)),
    key,
    addressKey,
    stage: oneOf(`${option}.stage`, policy.stage ?? 'onRequest', ['onRequest', 'preHandler']),
    routes: oneOf(`${option}.routes`, policy.routes ?? 'all', ['all', 'named']),
    missingKey,
    isListed: resolveAllowList(`${option}.allowList`, policy.allowList, { limit: name, isByAddress: key === 'address' }),
    onStoreError: oneOf(`${option}.onStoreError`, policy.onStoreError ?? 'local', ['local', 'open', 'closed']),
    expose: boolean(`${option}.expose`, policy.expose ?? true)
  }
}

function resolveKey (option: string, key: Policy['key'], name: string): ResolvedPolicy['key'] {
  if (key === undefined) return 'none'
  if (key === 'address') return key
  if (typeof key === 'function') return guarded(name, 'key', key)
  ensure(typeof key === 'object' && key !== null, option, '\'address\', { header } or a function', key)
  return { header: text(`${option}.header`, record(option, key, ['header'])['header']).toLowerCase() }
}

function resolveShape (option: string, name: string, rate: Tiered | undefined, burst: Tiered | undefined): ResolvedPolicy['shape'] {
  ensure(typeof rate === 'function' || isRate(rate), `${option}.rate`, `${expected.rate}, or a function`, rate)
  ensure(typeof burst === 'function' || isBurst(burst), `${option}.burst`, `${expected.burst}, or a function`, burst)
  if (typeof rate === 'number' && typeof burst === 'number') return { rate, burst }
  const rateOf = typeof rate === 'function' ? guarded(name, 'rate', rate) : () => rate
  const burstOf = typeof burst === 'function' ? guarded(name, 'burst', burst) : () => burst
  return async (key, request) => {
    const shape = { rate: await rateOf(key, request), burst: await burstOf(key, request) }
    // A wrong number must not mean no limit.
    if (!isRate(shape.rate)) throw new LimitInvalidError(name, 'rate', expected.rate, brief(shape.rate))
    if (!isBurst(shape.burst)) throw new LimitInvalidError(name, 'burst', expected.burst, brief(shape.burst))
    return { rate: shape.rate, burst: shape.burst }
  }
}

/** Returns a shape with what responses say about it. */
export function describeShape (name: string, shape: ResolvedPolicy['shape']): Pick<ResolvedPolicy, 'shape' | 'quoted' | 'item'> {
  const quoted = quote(name)
  return { shape, quoted, item: typeof shape === 'object' ? policyItem(quoted, shape) : undefined }
}
