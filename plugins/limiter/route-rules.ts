/** What applies to a route: the policies for all routes, the policies that its `config.limiter` names, and its own `config.rateLimit`. */
import type { FastifyRequest, RouteOptions } from 'fastify'
import { array, ensure, integer, record } from '../shared/options.ts'
import { guarded, type MaybePromise } from './functions.ts'
import { replaced } from './compat/replaced.ts'
import type { ResolvedConcurrency } from './concurrency/policy.ts'
import type { PolicyName, RefusalOptions, Stage } from './policies/policy.ts'
import { resolveRefusal, type ResolvedPolicy, type ResolvedRefusal } from './policies/resolve.ts'

/** Tokens that a request takes from each of its policies. */
export type Cost = number | ((request: FastifyRequest) => MaybePromise<number>)

/** `config.limiter` of a route. */
export interface RouteLimiterOptions extends RefusalOptions {
  /**
   * Tokens that a request takes from each of the route's policies: a whole number from 1 to the smallest burst, or a function that returns
   * such a number.
   * @default 1
   */
  cost?: Cost
  /** Policies with `routes: 'named'` that apply to this route, besides the policies for all routes. */
  policies?: readonly PolicyName[]
  /** Policies for all routes that don't apply to this route: for example that of an API key, on the route where clients log in. */
  without?: readonly PolicyName[]
}

/** @internal Every option, for the test that compares them with the docs. */
export const routeOptionNames = ['cost', 'policies', 'without', 'body', 'onExceeded'] as const satisfies ReadonlyArray<keyof RouteLimiterOptions>

/** The policies of a route by stage, the cost of its requests, and its own answers to refusals. */
export interface RouteRules extends Readonly<Record<Stage, readonly ResolvedPolicy[]>>, ResolvedRefusal {
  readonly cost: Cost
  /** The policies that bound concurrency. */
  readonly bounds: readonly ResolvedConcurrency[]
}

/** The property of a route's config that holds its rules, so that a request finds its rules without a look-up by name. */
const kRules = Symbol('fastify-concurrency.limiter.rules')

/** The part of a route's config that the limiter reads. */
export interface RouteConfig {
  limiter?: false | RouteLimiterOptions
  rateLimit?: unknown
  [kRules]?: RouteRules
}

/** A route as Fastify's onRoute hooks see it. */
export type RouteWithConfig = Pick<RouteOptions, 'method' | 'url' | 'constraints' | 'preHandler'> & { prefix?: string, config?: RouteConfig }

/** Returns one name for all methods of a route: `GET,POST /search`. HEAD counts with GET. Routes that differ in version or host count apart. */
export function routeName (route: RouteWithConfig): string {
  return nameOf(methodsOf(route).join(','), route)
}

/**
 * Returns the names of a route's own bucket, one for each of its methods, because Fastify adds HEAD as a route of its own. In a scope with a
 * prefix, Fastify also adds HEAD for the prefix with a slash. The GET of that HEAD is the GET of the bare prefix, whose name is `alias`.
 */
export function bucketNames (route: RouteWithConfig): { names: string[], alias?: string } {
  const names = methodsOf(route).map((method) => nameOf(method, route))
  const { method, url, prefix = '' } = route
  return method === 'HEAD' && prefix !== '' && url === `${prefix}/` ? { names, alias: nameOf('GET', { ...route, url: prefix }) } : { names }
}

function methodsOf ({ method }: RouteWithConfig): string[] {
  return [...new Set([method].flat().map((name) => name === 'HEAD' ? 'GET' : name))]
}

function nameOf (method: string, { url, constraints = {} }: RouteWithConfig): string {
  const apart = Object.entries(constraints).map(([name, value]) => ` ${name}=${String(value)}`)
  return `${method} ${url}${apart.join('')}`
}

/** Reports whether a route's config still has the rules that the limiter put there. */
export function hasRules (config: RouteConfig, rules: RouteRules): boolean {
  return config[kRules] === rules
}

const none: ResolvedRefusal = { body: undefined, onExceeded: undefined }

/** Tells whether a route has to have a hook of the limiter after all other preHandler hooks. */
export function isDecidedLast ({ preHandler, bounds }: RouteRules): boolean {
  return preHandler.length > 0 || bounds.some(({ stage }) => stage === 'preHandler')
}

function rulesOf (policies: readonly ResolvedPolicy[], bounds: readonly ResolvedConcurrency[], cost: Cost, refusal = none): RouteRules {
  const at = (stage: Stage): ResolvedPolicy[] => policies.filter((policy) => policy.stage === stage)
  return { onRequest: at('onRequest'), preHandler: at('preHandler'), bounds, cost, ...refusal }
}

export class RulesOfRoutes {
  readonly #policies: ReadonlyMap<string, ResolvedPolicy>
  readonly #bounds: ReadonlyMap<string, ResolvedConcurrency>
  readonly #ownPolicy: (options: unknown, route: RouteWithConfig) => ResolvedPolicy
  /** The rules of routes without a config of their own, and of requests that no route answers: 404s are limited too. */
  readonly standard: RouteRules

  /**
   * @param bounds the policies that bound concurrency
   * @param ownPolicy makes the policy of a route's `config.rateLimit`
   */
  constructor (
    policies: ReadonlyMap<string, ResolvedPolicy>, bounds: ReadonlyMap<string, ResolvedConcurrency>,
    ownPolicy: (options: unknown, route: RouteWithConfig) => ResolvedPolicy
  ) {
    this.#policies = policies
    this.#bounds = bounds
    this.#ownPolicy = ownPolicy
    const isForAll = ({ routes }: { routes: 'all' | 'named' }): boolean => routes === 'all'
    this.standard = rulesOf([...policies.values()].filter(isForAll), [...bounds.values()].filter(isForAll), 1)
  }

  /**
   * Compiles a route's config at boot. `rateLimit` is taken out of it, since @fastify/rate-limit would add its own hook to the route.
   * Throws FC_ERR_OPTION_INVALID, naming the route.
   */
  prepare (route: RouteWithConfig): { config: RouteConfig, rules: RouteRules } {
    const { rateLimit, ...config } = route.config ?? {}
    const rules = this.#compile(route, config.limiter, rateLimit)
    return { config: { ...config, [kRules]: rules }, rules }
  }

  /**
   * Returns the rules for a request. A route that was declared before the limiter is prepared by its first request. If such a route has a
   * policy in the preHandler stage, it is too late to add the hook, and the request fails: it never bypasses the limit.
   */
  of (request: FastifyRequest): RouteRules {
    const config = request.routeOptions.config as RouteConfig & { url?: string, method?: unknown }
    const known = config[kRules]
    if (known !== undefined) return known
    if (config.limiter === undefined && config.rateLimit === undefined) return this.standard
    const route: RouteWithConfig = { url: config.url ?? '', method: config.method as string, config }
    const { rules } = this.prepare(route)
    const isLate = rules.preHandler.some((policy) => !this.standard.preHandler.includes(policy)) ||
      rules.bounds.some((bound) => bound.stage === 'preHandler' && !this.standard.bounds.includes(bound))
    ensure(!isLate, `${routeName(route)}: config`, 'a route declared after the limiter, for a limit in preHandler', config)
    config[kRules] = rules
    delete config.rateLimit
    return rules
  }

  #compile (route: RouteWithConfig, limiter: RouteConfig['limiter'], rateLimit: unknown): RouteRules {
    if (limiter === undefined && rateLimit === undefined) return this.standard
    if (limiter === false) return rulesOf([], [], 1)
    const option = `${routeName(route)}: config.limiter`
    const { cost = 1, policies = [], without = [], ...answers } = record(option, limiter ?? {}, routeOptionNames, replaced) as RouteLimiterOptions
    const refusal = resolveRefusal(option, '*', answers)
    const standard = [...this.standard.onRequest, ...this.standard.preHandler]
    // A limit of the route's own stands in place of those for all routes, as in @fastify/rate-limit.
    const bounds = new Set(this.standard.bounds)
    const applied = new Set(rateLimit === undefined ? standard : standard.filter(({ always }) => always))
    for (const [index, name] of array(`${option}.without`, without).entries()) {
      const policy = standard.find((policy) => policy.name === name)
      ensure(policy?.always === false, `${option}.without[${index}]`, 'a policy with routes: \'all\' that isn\'t applied always', name)
      applied.delete(policy as ResolvedPolicy)
    }
    for (const [index, name] of array(`${option}.policies`, policies).entries()) {
      const bound = this.#bounds.get(name as string)
      if (bound !== undefined) {
        bounds.add(bound)
        continue
      }
      const policy = this.#policies.get(name as string)
      ensure(policy !== undefined, `${option}.policies[${index}]`, `one of the policies ${[...this.#policies.keys(), ...this.#bounds.keys()].join(', ')}`, name)
      applied.add(policy as ResolvedPolicy)
    }
    if (rateLimit !== undefined && rateLimit !== false) {
      const own = this.#ownPolicy(rateLimit, route)
      ensure(!this.#policies.has(own.name), `${routeName(route)}: config.rateLimit`, 'a route or group that no policy is named after', own.name)
      applied.add(own)
    }
    if (typeof cost === 'function') return rulesOf([...applied], [...bounds], guarded('*', 'cost', cost), refusal)
    integer(`${option}.cost`, cost, { min: 1 })
    // A cost that a policy could never grant is a mistake: found at boot where both are numbers.
    for (const { name, shape } of applied) {
      if (typeof shape === 'object') ensure(cost <= shape.burst, `${option}.cost`, `at most the burst of the policy "${name}", ${shape.burst}`, cost)
    }
    return rulesOf([...applied], [...bounds], cost, refusal)
  }
}
