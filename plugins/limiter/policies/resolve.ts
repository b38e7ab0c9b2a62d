/** Validates and compiles policies, at boot, for the rest of the limiter. */
import type { FastifyRequest } from 'fastify'
import { describe } from '../../shared/describe.ts'
import { LimitInvalidError } from '../../shared/errors.ts'
import { boolean, duration, ensure, fn, integer, MAX_DURATION, oneOf, record, text } from '../../shared/options.ts'
import { replaced } from '../compat/replaced.ts'
import { boundsConcurrency, resolveConcurrency, type ResolvedConcurrency } from '../concurrency/policy.ts'
import { guarded } from '../functions.ts'
import type { Shape } from '../stores/bucket.ts'
import type { Lockout } from '../stores/store.ts'
import { keySet, resolveAllowList } from './allow-list.ts'
import { beforeBody, type KeySource } from './keys.ts'
import { policyOptionNames, type HeaderKey, type Period, type Policy, type RefusalOptions, type Stage } from './policy.ts'

/** `RefusalOptions`, checked: what the functions throw is an Error. */
export interface ResolvedRefusal {
  readonly body: RefusalOptions['body']
  readonly onExceeded: RefusalOptions['onExceeded']
}

export type ResolvedPolicy = ReturnType<typeof resolvePolicy>

/** Returns the numbers of a policy for a key. */
type ShapeFunction = (key: string, request: FastifyRequest | undefined) => Promise<Shape>

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
export function resolvePolicies (option: string, policies: unknown, ipv6Subnet: number): Map<string, ResolvedPolicy> {
  const entries = Object.entries(record(option, policies)).filter(([, policy]) => !boundsConcurrency(policy))
  return new Map(entries.map(([name, policy]) => [name, resolvePolicy(`${option}.${name}`, name, policy, ipv6Subnet)]))
}

/** Validates and compiles the policies that bound concurrency. */
export function resolveConcurrencies (option: string, policies: unknown): Map<string, ResolvedConcurrency> {
  const entries = Object.entries(record(option, policies)).filter(([, policy]) => boundsConcurrency(policy))
  return new Map(entries.map(([name, policy]) => [name, resolveConcurrency(`${option}.${name}`, name, policy)]))
}

function resolvePolicy (option: string, name: string, value: unknown, ipv6Subnet: number) {
  // The fields of the responses are ASCII; quotes and backslashes are escaped there.
  ensure(/^[\x20-\x7e]{1,100}$/.test(name), option, 'a name of 1 to 100 printable ASCII characters', name)
  const policy = record(option, value, policyOptionNames, replaced) as Partial<Policy>
  const stage = oneOf(`${option}.stage`, policy.stage ?? 'onRequest', ['onRequest', 'preHandler'])
  const key = resolveKey(`${option}.key`, policy.key, name, stage)
  const missingKey = oneOf(`${option}.missingKey`, policy.missingKey ?? 'reject', ['reject', 'address'])
  ensure(policy.missingKey === undefined || typeof key !== 'string', `${option}.missingKey`, 'a policy whose key can be missing: a header or a function', policy.missingKey)
  return {
    name,
    shape: resolveShape(option, name, policy),
    key,
    /** How many leading bits of an IPv6 address make the key. */
    ipv6Subnet,
    stage,
    routes: oneOf(`${option}.routes`, policy.routes ?? 'all', ['all', 'named']),
    missingKey,
    isListed: resolveAllowList(`${option}.allowList`, policy.allowList, { limit: name, isByAddress: key === 'address' }),
    charge: policy.charge === undefined ? undefined : guarded(name, 'charge', fn<NonNullable<Policy['charge']>>(`${option}.charge`, policy.charge)),
    lockout: policy.lockout === undefined ? undefined : resolveLockout(`${option}.lockout`, policy.lockout),
    // A process alone knows of no lockout, and would let each locked key try again.
    onStoreError: oneOf(`${option}.onStoreError`, policy.onStoreError ?? (policy.lockout === undefined ? 'local' : 'closed'), ['local', 'open', 'closed']),
    expose: boolean(`${option}.expose`, policy.expose ?? true),
    always: boolean(`${option}.always`, policy.always ?? false),
    ...resolveRefusal(option, name, policy)
  }
}

function resolveKey (option: string, key: Policy['key'], name: string, stage: Stage): 'address' | 'none' | KeySource {
  if (key === undefined) return 'none'
  if (key === 'address') return key
  if (typeof key === 'function') return guarded(name, 'key', stage === 'onRequest' ? beforeBody(name, key) : key)
  ensure(typeof key === 'object' && key !== null, option, '\'address\', { header, known } or a function', key)
  const { header, known } = record(option, key, ['header', 'known']) as Partial<HeaderKey>
  const isKnown = typeof known === 'function' ? guarded(name, 'key.known', known) : known === undefined ? undefined : keySet(`${option}.known`, known)
  return { header: text(`${option}.header`, header).toLowerCase(), isKnown }
}

function resolveShape (option: string, name: string, { rate, per, burst }: Partial<Policy>): Shape | ShapeFunction {
  ensure(typeof rate === 'function' || isRate(rate), `${option}.rate`, `${expected.rate}, or a function`, rate)
  ensure(typeof burst === 'function' || isBurst(burst), `${option}.burst`, `${expected.burst}, or a function`, burst)
  const period = seconds[oneOf(`${option}.per`, per ?? 'second', ['second', 'minute', 'hour', 'day'])]
  if (typeof rate === 'number' && typeof burst === 'number') return { rate: rate / period, burst }
  const rateOf = typeof rate === 'function' ? guarded(name, 'rate', rate) : () => rate
  const burstOf = typeof burst === 'function' ? guarded(name, 'burst', burst) : () => burst
  return async (key, request) => {
    const shape = { rate: await rateOf(key, request), burst: await burstOf(key, request) }
    // A wrong number must not mean no limit.
    if (!isRate(shape.rate)) throw new LimitInvalidError(name, 'rate', expected.rate, describe(shape.rate))
    if (!isBurst(shape.burst)) throw new LimitInvalidError(name, 'burst', expected.burst, describe(shape.burst))
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
