/** A route's `config.rateLimit`, as @fastify/rate-limit documents it, as a policy: `max` tokens that flow back over `timeWindow`. */
import { inspect, isDeepStrictEqual } from 'node:util'
import type { FastifyRequest } from 'fastify'
import { LimitInvalidError } from '../../shared/errors.ts'
import { ensure, fn, oneOf, record, text } from '../../shared/options.ts'
import { resolveAllowList } from '../allow-list.ts'
import type { Shape } from '../stores/bucket.ts'
import { brief, guarded } from '../functions.ts'
import { describeShape, type KeyFunction, type ResolvedPolicy } from '../policies.ts'
import { addressKeyOf, windowShape, type Merge, type MergedOptions, type RateLimitOptions } from './rate-limit.ts'
import { bucketNames, routeName, type RouteWithMethod } from '../route-name.ts'

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

/** What a route's options come down to, under the options' names: what the routes of one bucket must agree on. */
type Settings = Readonly<Record<Exclude<typeof routeOptions[number], 'groupId'>, unknown>> & Pick<MergedOptions, 'max' | 'timeWindow'>

interface Known {
  policy: ResolvedPolicy
  options: RouteRateLimit
  settings: Settings
}

/** Makes policies of routes' options. The routes of a group share one, and HEAD shares that of the route that answers GET. */
export class RouteLimits {
  readonly #merge: Merge
  readonly #known = new Map<string, Known>()

  constructor (merge: Merge) {
    this.#merge = merge
  }

  of (value: unknown, route: RouteWithMethod): ResolvedPolicy {
    const option = `${routeName(route)}: config.rateLimit`
    refuseReplaced(option, value, routeOptions)
    const options = record(option, value, routeOptions) as RouteRateLimit
    const { groupId } = options
    const { names, alias } = groupId === undefined ? bucketNames(route) : { names: [`group ${text(`${option}.groupId`, groupId)}`] }
    const settings = this.#settings(option, options)
    let known = names.map((name) => this.#known.get(name)).find((known) => known !== undefined)
    if (known !== undefined) {
      refuseDifferent(option, names, known, { options, settings })
    } else {
      const other = alias === undefined ? undefined : this.#known.get(alias)
      known = other !== undefined && isDeepStrictEqual(other.settings, settings) ? other : undefined
    }
    if (known === undefined) {
      const name = encodeURI(groupId === undefined ? routeName(route) : names[0]!).replaceAll('%20', ' ')
      known = { policy: policyOf(option, name, options, settings), options, settings }
    }
    for (const name of names) this.#known.set(name, known)
    return known.policy
  }

  #settings (option: string, options: RouteRateLimit): Settings {
    const merged = this.#merge(validated(option, options))
    ensure(merged.timeWindow !== undefined, `${option}.timeWindow`, 'a text like \'1 minute\'', options.timeWindow)
    const { keyGenerator, allowList, ipv6Subnet, skipOnError } = options
    // Functions as they came: they are the same on two routes if the routes were given the same ones.
    const max = typeof options.max === 'function' ? options.max : merged.max
    const timeWindow = typeof options.timeWindow === 'function' ? options.timeWindow : merged.timeWindow
    const hook = (options.hook ?? 'onRequest') === 'onRequest' ? 'onRequest' : 'preHandler'
    return { max, timeWindow, keyGenerator, allowList, hook, ipv6Subnet, skipOnError }
  }
}

/** One bucket has one size and one key: an option in which a later route differs would be lost, or resize the bucket of the others. */
function refuseDifferent (option: string, names: readonly string[], known: Known, own: Omit<Known, 'policy'>): void {
  for (const key of routeOptions) {
    if (key === 'groupId') continue
    const isSame = isDeepStrictEqual(known.settings[key], own.settings[key])
    ensure(isSame, `${option}.${key}`, `the same as on the other routes of "${names[0]}", ${inspect(known.options[key], { depth: 0 })}`, own.options[key])
  }
}

function policyOf (option: string, name: string, options: RouteRateLimit, { max, timeWindow, hook }: Settings): ResolvedPolicy {
  const { keyGenerator, allowList, ipv6Subnet } = options
  const isByAddress = keyGenerator === undefined
  // The order of arguments there.
  const list = typeof allowList === 'function' ? (key: string, request: FastifyRequest | undefined) => allowList(request!, key) : allowList
  return {
    name,
    ...describeShape(name, shapeOf(option, name, max, timeWindow)),
    key: isByAddress ? 'address' : guarded(name, 'keyGenerator', keyGenerator as KeyFunction),
    ...(ipv6Subnet === undefined ? {} : { addressKey: addressKeyOf(ipv6Subnet) }),
    stage: hook === 'onRequest' ? 'onRequest' : 'preHandler',
    routes: 'named',
    missingKey: 'reject',
    isListed: resolveAllowList(`${option}.allowList`, list, { limit: name, isByAddress }),
    onStoreError: onStoreError(options.skipOnError),
    expose: true
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
  const maxOf = typeof max === 'number' ? () => max : guarded(name, 'max', max)
  const windowOf = typeof timeWindow === 'number' ? () => timeWindow : guarded(name, 'timeWindow', timeWindow)
  return async (key, request) => checkedWindow(name, await maxOf(request!, key), await windowOf(request!, key))
}

function checkedWindow (name: string, max: number, timeWindow: number): Shape {
  const shape = Number.isInteger(max) && Number.isFinite(timeWindow) ? windowShape(max, timeWindow) : undefined
  if (shape === undefined) {
    throw new LimitInvalidError(name, 'max or timeWindow', 'a whole number of at least 1, and milliseconds above 0', `${brief(max)} and ${brief(timeWindow)}`)
  }
  return shape
}
