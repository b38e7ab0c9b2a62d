/** What applies to a route: the policies for all routes, those that its `config.limiter` names, and its own `config.rateLimit`. */
import { array, ensure, integer, record } from '../shared/options.ts'
import { guarded } from './functions.ts'
import type { Cost, Recipe } from './plan.ts'
import { ensureAffordable, type PolicyName, type ResolvedPolicy, type Stage } from './policies.ts'
import { routeName, type RouteWithMethod } from './route-name.ts'

/** The route's recipe travels in its config: the one thing of a route that a request leads to without a look-up by name. */
const kRecipe = Symbol('fastify-concurrency.limiter.recipe')

/** `config.limiter` of a route. */
export interface RouteLimiterOptions {
  /**
   * Tokens that a request takes from each of the route's policies: a whole number from 1 to the smallest burst, or a function that gives one.
   * @default 1
   */
  cost?: Cost
  /** Policies with `routes: 'named'` that apply here, besides those for all routes. */
  policies?: readonly PolicyName[]
}

/** @internal Every option, for the test that compares them with the README. */
export const routeOptionNames = ['cost', 'policies'] as const satisfies ReadonlyArray<keyof RouteLimiterOptions>

/** A route's config, as far as the limiter reads it. */
export interface RouteConfig {
  limiter?: false | RouteLimiterOptions
  rateLimit?: unknown
  [kRecipe]?: Recipe
}

export type RouteWithConfig = RouteWithMethod & { config?: RouteConfig | undefined, preHandler?: unknown }

/** Whether a route's config still has the recipe that it was prepared with. */
export function hasRecipe (config: RouteConfig, recipe: Recipe): boolean {
  return config[kRecipe] === recipe
}

const none: Recipe = { policies: { onRequest: [], preHandler: [] }, cost: 1 }

export class Recipes {
  readonly #policies: ReadonlyMap<string, ResolvedPolicy>
  readonly #own: (options: unknown, route: RouteWithConfig) => ResolvedPolicy
  /** For routes that say nothing, and for what no route answers: 404s are limited too. */
  readonly standard: Recipe

  /** @param own makes the policy of a route's `config.rateLimit` */
  constructor (policies: ReadonlyMap<string, ResolvedPolicy>, own: (options: unknown, route: RouteWithConfig) => ResolvedPolicy) {
    this.#policies = policies
    this.#own = own
    this.standard = recipe([...policies.values()].filter(({ routes }) => routes === 'all'), 1)
  }

  /**
   * Compiles a route's config at boot. `rateLimit` is taken out of it, since @fastify/rate-limit would hook itself into the route.
   * Throws FC_ERR_OPTION_INVALID, naming the route.
   */
  prepare (route: RouteWithConfig): { config: RouteConfig, recipe: Recipe } {
    const { rateLimit, ...config } = route.config ?? {}
    const recipe = this.#compile(route, config.limiter, rateLimit)
    return { config: { ...config, [kRecipe]: recipe }, recipe }
  }

  /**
   * The recipe for a request. A route that was declared before the limiter is prepared by its first request; a preHandler of its own
   * comes too late then, and the request fails rather than pass unlimited.
   */
  of (config: RouteConfig & { url?: string, method?: unknown }): Recipe {
    const known = config[kRecipe]
    if (known !== undefined) return known
    if (config.limiter === undefined && config.rateLimit === undefined) return this.standard
    const route = { url: config.url ?? '', method: config.method as string, config }
    const { recipe } = this.prepare(route)
    const late = recipe.policies.preHandler.length > this.standard.policies.preHandler.length
    ensure(!late, `${routeName(route)}: config`, 'a route declared after the limiter, for a limit in preHandler', config)
    config[kRecipe] = recipe
    delete config.rateLimit
    return recipe
  }

  #compile (route: RouteWithConfig, limiter: RouteConfig['limiter'], rateLimit: unknown): Recipe {
    if (limiter === undefined && rateLimit === undefined) return this.standard
    if (limiter === false || rateLimit === false) return none
    const option = `${routeName(route)}: config.limiter`
    const { cost = 1, policies = [] } = record(option, limiter ?? {}, routeOptionNames) as RouteLimiterOptions
    const applied = new Set([...this.standard.policies.onRequest, ...this.standard.policies.preHandler])
    for (const [index, name] of array(`${option}.policies`, policies).entries()) {
      const policy = this.#policies.get(name as string)
      ensure(policy !== undefined, `${option}.policies[${index}]`, `one of the policies ${[...this.#policies.keys()].join(', ')}`, name)
      applied.add(policy!)
    }
    if (rateLimit !== undefined) {
      const own = this.#own(rateLimit, route)
      ensure(!this.#policies.has(own.name), `${routeName(route)}: config.rateLimit`, 'a route or group that no policy is named after', own.name)
      applied.add(own)
    }
    if (typeof cost === 'function') return recipe([...applied], guarded('*', 'cost', cost))
    integer(`${option}.cost`, cost, { min: 1 })
    for (const policy of applied) ensureAffordable(`${option}.cost`, cost, policy)
    return recipe([...applied], cost)
  }
}

function recipe (policies: readonly ResolvedPolicy[], cost: Cost): Recipe {
  const at = (stage: Stage): ResolvedPolicy[] => policies.filter((policy) => policy.stage === stage)
  return { policies: { onRequest: at('onRequest'), preHandler: at('preHandler') }, cost }
}
