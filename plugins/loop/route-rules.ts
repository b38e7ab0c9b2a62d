/** What the configuration of a route says to the admission of the event loop, and what the route costs. */
import type { FastifyRequest } from 'fastify'
import { priorities } from '../core/line/entry.ts'
import { kCountedAs } from '../shared/http/internal-route.ts'
import { contextOf } from '../shared/private.ts'
import * as check from '../shared/options.ts'
import type { Priority } from '../../workers/jobs.ts'
import type { Route, Routes } from './routes.ts'

/** A route's `config.loop`. */
export interface RouteLoopOptions {
  /** Whose request it is, in place of the plugin's `key`. */
  key?: (request: FastifyRequest) => string
  /**
   * The share of the route's requests while others are held: 8 : 4 : 1.
   * @default 'normal'
   */
  priority?: Priority
}

export interface RouteRules {
  readonly route: Route
  /** Never held. */
  readonly isExempt: boolean
  readonly key: RouteLoopOptions['key']
  readonly priority: Priority
}

interface Config {
  loop?: false | RouteLoopOptions
  lifecycle?: 'always'
  [kCountedAs]?: string
}

/** Checks the option of a route. */
export function checkRoute (name: string, { loop }: Config): void {
  if (loop === undefined || loop === false) return
  const option = `config.loop of ${name}`
  check.record(option, loop, ['key', 'priority'])
  if (loop.key !== undefined) check.fn(`${option}.key`, loop.key)
  if (loop.priority !== undefined) check.oneOf(`${option}.priority`, loop.priority, priorities)
}

/** The rules of routes, found by what Fastify keeps for a route. Several methods of one route share it. */
export class RulesOfRoutes {
  readonly #routes: Routes
  readonly #rules = new WeakMap<object, RouteRules>()

  constructor (routes: Routes) {
    this.#routes = routes
  }

  of (request: FastifyRequest): RouteRules {
    const context = contextOf<object>(request) ?? request.routeOptions.config
    let rules = this.#rules.get(context)
    if (rules === undefined) this.#rules.set(context, rules = this.#resolve(request))
    return rules
  }

  #resolve ({ routeOptions: { url, method, config } }: FastifyRequest): RouteRules {
    const name = url === undefined ? '404' : `${String(method)} ${url}`
    const { loop, lifecycle, [kCountedAs]: countedAs = name } = config as Config
    checkRoute(name, { ...loop !== undefined && { loop } })
    const { key, priority = 'normal' } = typeof loop === 'object' ? loop : {}
    return { route: this.#routes.add(countedAs), isExempt: loop === false || lifecycle === 'always', key, priority }
  }
}
