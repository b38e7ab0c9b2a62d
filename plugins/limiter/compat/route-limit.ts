/** Makes a policy of a route's `config.rateLimit`: `max` tokens that flow back over `timeWindow`. */
import { inspect, isDeepStrictEqual } from 'node:util'
import type { FastifyRequest } from 'fastify'
import { describe } from '../../shared/describe.ts'
import { LimitInvalidError } from '../../shared/errors.ts'
import { ensure, fn, integer, oneOf, record, text } from '../../shared/options.ts'
import { resolveAllowList } from '../policies/allow-list.ts'
import { guarded } from '../functions.ts'
import { beforeBody, type KeyFunction } from '../policies/keys.ts'
import type { ResolvedPolicy } from '../policies/resolve.ts'
import { bucketNames, routeName, type RouteWithConfig } from '../route-rules.ts'
import { windowShape, type Merge, type MergedOptions } from './rate-limit.ts'
import { replaced } from './replaced.ts'
import type { RouteRateLimitOptions } from './types.ts'

/** The options that must be the same on all routes of one bucket. */
const shared = ['max', 'timeWindow', 'keyGenerator', 'allowList', 'hook', 'ipv6Subnet', 'skipOnError'] as const
const routeOptions = [...shared, 'groupId'] as const

/** A route's options after defaults and conversions, for comparison with the options of other routes. */
type Settings = Readonly<Record<typeof shared[number], unknown>> & Pick<MergedOptions, 'max' | 'timeWindow'>

interface Known {
  policy: ResolvedPolicy
  options: RouteRateLimitOptions
  settings: Settings
}

/** Makes policies of routes' options. The routes of a group share one policy, and HEAD shares the policy of the route that answers GET. */
export class RouteLimits {
  readonly #merge: Merge
  readonly #ipv6Subnet: number
  readonly #known = new Map<string, Known>()

  constructor (merge: Merge, ipv6Subnet: number) {
    this.#merge = merge
    this.#ipv6Subnet = ipv6Subnet
  }

  /** Returns the policy of a route. Throws FC_ERR_OPTION_INVALID, also if another route of the same bucket has other options. */
  of (value: unknown, route: RouteWithConfig): ResolvedPolicy {
    const option = `${routeName(route)}: config.rateLimit`
    const options = record(option, value, routeOptions, replaced) as RouteRateLimitOptions
    const group = options.groupId === undefined ? undefined : `group ${text(`${option}.groupId`, options.groupId)}`
    const { names, alias = '' } = group === undefined ? bucketNames(route) : { names: [group] }
    const settings = this.#settings(option, options)
    const own = names.map((name) => this.#known.get(name)).find((known) => known !== undefined)
    if (own !== undefined) refuseDifferent(option, own, options, settings)
    const aliased = this.#known.get(alias)
    const known = own ?? (isDeepStrictEqual(aliased?.settings, settings) ? aliased : undefined) ??
      { policy: this.#policy(option, encodeURI(group ?? routeName(route)).replaceAll('%20', ' '), options, settings), options, settings }
    for (const name of names) this.#known.set(name, known)
    return known.policy
  }

  /** Validates a route's options, including those that @fastify/rate-limit would silently replace by a default. */
  #settings (option: string, options: RouteRateLimitOptions): Settings {
    const { max, timeWindow, keyGenerator, allowList, hook = 'onRequest', ipv6Subnet, skipOnError } = options
    if (max !== undefined && typeof max !== 'function') ensure(Number.isInteger(max) && max >= 1, `${option}.max`, 'a whole number of at least 1, or a function', max)
    if (timeWindow !== undefined && typeof timeWindow !== 'function' && typeof timeWindow !== 'string') {
      ensure(Number.isFinite(timeWindow) && timeWindow >= 1, `${option}.timeWindow`, 'milliseconds of at least 1, a text like \'1 minute\', or a function', timeWindow)
    }
    if (keyGenerator !== undefined) fn(`${option}.keyGenerator`, keyGenerator)
    oneOf(`${option}.hook`, hook, ['onRequest', 'preParsing', 'preValidation', 'preHandler'])
    if (skipOnError !== undefined) oneOf(`${option}.skipOnError`, skipOnError, [true, false])
    if (ipv6Subnet !== undefined) integer(`${option}.ipv6Subnet`, ipv6Subnet, { min: 1, max: 128 })
    const merged = this.#merge(options)
    ensure(merged.timeWindow !== undefined, `${option}.timeWindow`, 'a text like \'1 minute\'', timeWindow)
    return {
      // Functions stay as they came: two routes agree if they were given the same function.
      max: typeof max === 'function' ? max : merged.max,
      timeWindow: typeof timeWindow === 'function' ? timeWindow : merged.timeWindow,
      keyGenerator,
      allowList,
      hook: hook === 'onRequest' ? hook : 'preHandler',
      ipv6Subnet,
      skipOnError
    }
  }

  #policy (option: string, name: string, { keyGenerator, allowList, ipv6Subnet, skipOnError }: RouteRateLimitOptions, settings: Settings): ResolvedPolicy {
    const isByAddress = keyGenerator === undefined
    // @fastify/rate-limit passes the request first.
    const list = typeof allowList === 'function' ? (key: string, request: FastifyRequest | undefined) => allowList(request as FastifyRequest, key) : allowList
    return {
      name,
      shape: shapeOf(option, name, settings),
      key: isByAddress ? 'address' : guarded(name, 'keyGenerator', settings.hook === 'onRequest' ? beforeBody(name, keyGenerator as KeyFunction) : keyGenerator as KeyFunction),
      ipv6Subnet: ipv6Subnet ?? this.#ipv6Subnet,
      stage: settings.hook === 'onRequest' ? 'onRequest' : 'preHandler',
      routes: 'named',
      missingKey: 'reject',
      isListed: resolveAllowList(`${option}.allowList`, list, { limit: name, isByAddress }),
      onStoreError: skipOnError === undefined ? 'local' : skipOnError ? 'open' : 'closed',
      charge: undefined,
      lockout: undefined,
      expose: true,
      always: false,
      body: undefined,
      onExceeded: undefined
    }
  }
}

/** Refuses a route that differs from an earlier route of its bucket. A bucket has one size and one key, so the later options would be lost. */
function refuseDifferent (option: string, known: Known, options: RouteRateLimitOptions, settings: Settings): void {
  for (const key of shared) {
    const isSame = isDeepStrictEqual(known.settings[key], settings[key])
    ensure(isSame, `${option}.${key}`, `the same as on the other routes of "${known.policy.name}", ${inspect(known.options[key], { depth: 0 })}`, options[key])
  }
}

function shapeOf (option: string, name: string, { max, timeWindow }: Settings): ResolvedPolicy['shape'] {
  if (typeof max === 'number' && typeof timeWindow === 'number') {
    const shape = windowShape(max, timeWindow)
    ensure(shape !== undefined, `${option}.timeWindow`, 'a duration above 0', timeWindow)
    if (shape !== undefined) return shape
  }
  const maxOf = typeof max === 'number' ? () => max : guarded(name, 'max', max)
  const windowOf = typeof timeWindow === 'number' ? () => timeWindow : guarded(name, 'timeWindow', timeWindow)
  return async (key, request) => {
    const [max, timeWindow] = [await maxOf(request as FastifyRequest, key), await windowOf(request as FastifyRequest, key)]
    const shape = Number.isInteger(max) && Number.isFinite(timeWindow) ? windowShape(max, timeWindow) : undefined
    if (shape !== undefined) return shape
    const expected = 'a whole number of at least 1, and milliseconds above 0'
    throw new LimitInvalidError(name, 'max or timeWindow', expected, `${describe(max)} and ${describe(timeWindow)}`)
  }
}
