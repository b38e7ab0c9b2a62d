/** A route's `config.rateLimit`, as @fastify/rate-limit documents it, as a policy: `max` tokens that flow back over `timeWindow`. */
import { inspect } from 'node:util'
import { LimitInvalidError } from '../errors.ts'
import { ensure, fn, oneOf, record, text } from '../options.ts'
import type { Shape } from './bucket.ts'
import { describeShape, resolveAllowList, type KeyFunction, type ResolvedPolicy } from './policies.ts'
import { byAddress, windowShape, type MergedOptions, type RateLimitOptions } from './rate-limit.ts'

/** Options of @fastify/rate-limit that a bucket leaves nothing to do for, and what there is instead. */
const replaced: Readonly<Record<string, string>> = {
  ban: 'no ban: a limited client gets 429 until its bucket refills',
  onBanReach: 'no ban: a limited client gets 429 until its bucket refills',
  continueExceeding: 'no such option: a refused request takes no tokens, so it neither prolongs nor shortens the wait',
  exponentialBackoff: 'no such option: a refused request takes no tokens, so the wait is always the time until the bucket refills',
  cache: 'the limiter\'s maxKeys: one bounded table a policy',
  store: 'the limiter\'s redis option, or nothing for memory',
  nameSpace: 'the limiter\'s prefix',
  enableDraftSpec: 'no such option: the fields of the current draft are always sent',
  addHeaders: 'the limiter\'s legacyHeaders, or expose: false on a policy',
  addHeadersOnExceeding: 'the limiter\'s legacyHeaders, or expose: false on a policy',
  errorResponseBuilder: 'the limiter\'s body option',
  onExceeding: 'the fields of the response, or limiter.peek()',
  onExceeded: 'the diagnostics channel fastify-concurrency:limiter:rejected',
  global: 'routes: \'all\' or \'named\' on a policy',
  max: 'a policy with a rate and a burst',
  timeWindow: 'a policy with a rate and a burst',
  keyGenerator: 'key on a policy',
  groupId: 'one policy with routes: \'named\', which the routes name',
  hook: 'stage on a policy',
  skipOnError: 'onStoreError on a policy'
}

const routeOptions = ['max', 'timeWindow', 'keyGenerator', 'allowList', 'hook', 'groupId', 'ipv6Subnet', 'skipOnError'] as const

/** Refuses what has no meaning for a bucket by name, with what to use instead. Throws FC_ERR_OPTION_INVALID. */
export function refuseReplaced (option: string, options: unknown, allowed: readonly string[]): void {
  for (const [name, value] of Object.entries(record(option, options))) {
    if (Object.hasOwn(replaced, name) && !allowed.includes(name)) ensure(false, `${option}.${name}`, replaced[name]!, value)
  }
}

type RouteRateLimit = RateLimitOptions & { hook?: string, groupId?: string }

/** Makes policies of routes' options; the routes of a group share one. */
export class RouteLimits {
  readonly #merge: (options: RateLimitOptions) => MergedOptions
  readonly #known = new Map<string, { policy: ResolvedPolicy, options: RouteRateLimit }>()

  constructor (merge: (options: RateLimitOptions) => MergedOptions) {
    this.#merge = merge
  }

  of (value: unknown, route: string): ResolvedPolicy {
    const option = `${route}: config.rateLimit`
    refuseReplaced(option, value, routeOptions)
    const options = record(option, value, routeOptions) as RouteRateLimit
    const name = options.groupId === undefined ? route : `group ${text(`${option}.groupId`, options.groupId)}`
    const known = this.#known.get(name)
    if (known !== undefined) {
      // HEAD comes with the options of its GET. Routes of a group that differed would resize each other's bucket.
      for (const key of ['max', 'timeWindow'] as const) {
        ensure(known.options[key] === options[key], `${option}.${key}`, `the same as on the other routes of "${name}", ${inspect(known.options[key])}`, options[key])
      }
      return known.policy
    }
    const policy = this.#policy(option, encodeURI(name).replaceAll('%20', ' '), options)
    this.#known.set(name, { policy, options })
    return policy
  }

  #policy (option: string, name: string, options: RouteRateLimit): ResolvedPolicy {
    const { max, timeWindow } = this.#merge(validated(option, options))
    ensure(timeWindow !== undefined, `${option}.timeWindow`, 'a text like \'1 minute\'', options.timeWindow)
    const subnet = options.ipv6Subnet
    const address: KeyFunction | 'address' = subnet === undefined ? 'address' : byAddress(subnet)
    const key = (options.keyGenerator as KeyFunction | undefined) ?? address
    const allowList = resolveAllowList(`${option}.allowList`, options.allowList)
    return {
      name,
      ...describeShape(name, shapeOf(option, name, max, timeWindow)),
      key,
      stage: (options.hook ?? 'onRequest') === 'onRequest' ? 'onRequest' : 'preHandler',
      routes: 'named',
      // A Unix socket has no address.
      missingKey: key === address ? 'address' : 'reject',
      // The order of arguments there.
      allowList: typeof allowList === 'function' ? (key, request) => allowList(request, key) : allowList,
      onStoreError: onStoreError(options.skipOnError),
      expose: true
    }
  }
}

/** What @fastify/rate-limit would silently replace by a default. */
function validated (option: string, options: RouteRateLimit): RouteRateLimit {
  const { max, timeWindow, keyGenerator, hook, skipOnError, ipv6Subnet } = options
  if (max !== undefined && typeof max !== 'function') ensure(Number.isInteger(max) && max >= 1, `${option}.max`, 'a whole number of at least 1, or a function', max)
  if (timeWindow !== undefined && typeof timeWindow !== 'function' && typeof timeWindow !== 'string') {
    ensure(Number.isFinite(timeWindow) && timeWindow >= 1, `${option}.timeWindow`, 'milliseconds of at least 1, a text like \'1 minute\', or a function', timeWindow)
  }
  if (keyGenerator !== undefined) fn(`${option}.keyGenerator`, keyGenerator)
  if (hook !== undefined) oneOf(`${option}.hook`, hook, ['onRequest', 'preParsing', 'preValidation', 'preHandler'])
  if (skipOnError !== undefined) oneOf(`${option}.skipOnError`, skipOnError, [true, false])
  if (ipv6Subnet !== undefined) ensure(Number.isInteger(ipv6Subnet) && ipv6Subnet >= 1 && ipv6Subnet <= 128, `${option}.ipv6Subnet`, 'a whole number from 1 to 128', ipv6Subnet)
  return options
}

function onStoreError (skipOnError: boolean | undefined): ResolvedPolicy['onStoreError'] {
  if (skipOnError === undefined) return 'local'
  return skipOnError ? 'open' : 'closed'
}

function shapeOf (option: string, name: string, max: MergedOptions['max'], timeWindow: MergedOptions['timeWindow']): ResolvedPolicy['shape'] {
  if (typeof max === 'number' && typeof timeWindow === 'number') {
    const shape = windowShape(max, timeWindow)
    ensure(shape !== undefined, `${option}.timeWindow`, 'a duration above 0', timeWindow)
    return shape!
  }
  return async (key, request) => {
    const tokens = typeof max === 'number' ? max : await max(request!, key)
    const window = typeof timeWindow === 'number' ? timeWindow : await timeWindow(request!, key)
    return checkedWindow(name, tokens, window)
  }
}

function checkedWindow (name: string, max: number, timeWindow: number): Shape {
  const shape = Number.isInteger(max) && Number.isFinite(timeWindow) ? windowShape(max, timeWindow) : undefined
  if (shape === undefined) {
    throw new LimitInvalidError(name, 'max or timeWindow', 'a whole number of at least 1, and milliseconds above 0', inspect([max, timeWindow]))
  }
  return shape
}
