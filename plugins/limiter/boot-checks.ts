/** What would make the limits mean less than they say, told at boot. */
import cluster from 'node:cluster'
import type { FastifyInstance } from 'fastify'
import { fastifyOptionsOf, trustProxyOf } from '../shared/forwarded.ts'
import { ensure } from '../shared/options.ts'
import type { Recipe } from './plan.ts'
import type { ResolvedPolicy } from './policies.ts'
import { routeName } from './route-name.ts'
import { hasRecipe, type RouteConfig, type RouteWithConfig } from './routes.ts'

export function limitsByAddress (policy: ResolvedPolicy): boolean {
  return policy.key === 'address' || policy.missingKey === 'address'
}

/**
 * Checks what an address is worth. Under `trustProxy: true` it is whatever a client writes in X-Forwarded-For: each request may be a new
 * key. A number as `trustProxy` is refused: Fastify ignores it since 5.12.1, so all clients behind the proxy would share one bucket.
 */
export class AddressChecks {
  readonly #app: FastifyInstance
  readonly #trustProxy: unknown
  readonly #limits = new Set<string>()

  constructor (app: FastifyInstance) {
    this.#app = app
    this.#trustProxy = trustProxyOf(app)
  }

  /** Takes note of a limit by address. Throws FC_ERR_OPTION_INVALID. */
  add (limit: string): void {
    ensure(typeof this.#trustProxy !== 'number', 'trustProxy', 'the addresses of your proxies, or a function: Fastify ignores a number, so clients behind a proxy would share one bucket', this.#trustProxy)
    this.#limits.add(limit)
  }

  /** Warns of all limits by address in one line. */
  warn (): void {
    if (this.#limits.size === 0 || this.#trustProxy !== true) return
    this.#app.log.warn({ limits: [...this.#limits] },
      'limiter: under trustProxy: true a client writes its own address into X-Forwarded-For, a new one for each request if it likes, and ' +
      'gets round limits by address. Fix: trustProxy: the addresses of your proxies, for example [\'127.0.0.1\', \'10.0.0.0/8\']')
  }
}

/** Memory is a process's own: with n workers a client gets n times its limit. */
export function checkCluster (app: FastifyInstance, hasRedis: boolean): void {
  if (!cluster.isWorker || hasRedis) return
  app.log.warn('limiter: this is a cluster worker and its limits are in its own memory, so n workers grant n times as much. Fix: pass redis')
}

/** A route as `printRoutes({ includeHooks: true })` shows it. */
interface PrintedRoute {
  name: string
  hooks: string
}

/** The routes of the whole app. Its tree is the only public list of the routes that were declared before us or outside our scope. */
export function printedRoutes (app: FastifyInstance): PrintedRoute[] {
  const routes: PrintedRoute[] = []
  const path: string[] = []
  let node: PrintedRoute[] = []
  for (const line of app.printRoutes({ includeHooks: true }).split('\n')) {
    const [, indent, text] = /^([│├└─ ]*)(.*)$/u.exec(line) as unknown as [string, string, string]
    if (text.startsWith('•')) {
      for (const route of node) route.hooks += text
      continue
    }
    const [, segment, methods] = /^(.*?) \(([A-Z, -]+)\)/u.exec(text) ?? [text, text === '(empty root node)' ? '' : text]
    const depth = indent.length / 4
    path.length = depth
    path[depth - 1] = segment!
    node = (methods?.split(', ') ?? []).map((method) => ({ name: `${method} ${path.join('')}`, hooks: '' }))
    routes.push(...node)
  }
  return routes
}

/**
 * Whether the application prints its routes in its own way (Fastify's option `buildPrettyMeta`), which need not name hooks, nor be able to
 * print every route. Fastify's own way is told by its name.
 */
export function printsItsOwnWay (app: FastifyInstance): boolean {
  const { buildPrettyMeta } = (fastifyOptionsOf(app)['routerOptions'] ?? {}) as { buildPrettyMeta?: unknown }
  return typeof buildPrettyMeta === 'function' && buildPrettyMeta.name !== 'defaultBuildPrettyMeta'
}

/**
 * Names the routes that the limiter doesn't reach, by the hooks that Fastify prints with each route. The print says nothing where hooks lose
 * their names, as under a tracer that wraps each of them: then it shows our hooks on no route, not even on those that the limiter has
 * prepared.
 *
 * @param hooks names of the hooks that every route should have
 * @param prepared the routes that the limiter has prepared
 */
export function checkRoutes (app: FastifyInstance, hooks: readonly string[], prepared: readonly PreparedRoute[]): void {
  if (printsItsOwnWay(app)) return
  const reached = new Set(prepared.flatMap(({ route: { method, url } }) => [method].flat().map((method) => `${method} ${url}`)))
  const printed = printedRoutes(app)
  const shows = (route: PrintedRoute): boolean => hooks.every((hook) => route.hooks.includes(`"${hook}()"`))
  const known = printed.filter(({ name }) => reached.has(name))
  if (known.length > 0 && !known.some(shows)) return
  const routes = printed.filter((route) => !shows(route)).map(({ name }) => name)
  if (routes.length === 0) return
  app.log.warn({ routes },
    `limiter: ${routes.join(', ')} escape the limiter: declared before it, or outside the scope that registered it. ` +
    'Fix: register the limiter first, on the app itself')
}

/** A route as Fastify hands it from one onRoute hook to the next, and what the limiter made of its config when it read it. */
export interface PreparedRoute {
  route: RouteWithConfig
  limiter: RouteConfig['limiter']
  recipe: Recipe
}

/**
 * Refuses a config that an onRoute hook changed after the limiter had read it: the limit that it sets would never be.
 * @param standard the recipe of a route that says nothing, which needs no config
 * @param preHandler the limiter's hook
 */
export function checkPrepared (prepared: readonly PreparedRoute[], standard: Recipe, preHandler: unknown): void {
  for (const { route, limiter, recipe } of prepared) {
    const { config = {} } = route
    const expected = 'set before the limiter reads it: by the route itself, or by an onRoute hook that is added before the limiter is registered'
    ensure(config.limiter === limiter, `${routeName(route)}: config.limiter`, expected, config.limiter)
    ensure(config.rateLimit === undefined, `${routeName(route)}: config.rateLimit`, expected, config.rateLimit)
    ensure(hasRecipe(config, recipe) || recipe === standard, `${routeName(route)}: config`, 'an object that onRoute hooks extend, and don\'t replace: { ...route.config }', config)
    const isKept = recipe.policies.preHandler.length === 0 || [route.preHandler].flat().includes(preHandler)
    ensure(isKept, `${routeName(route)}: preHandler`, 'a property that onRoute hooks set, and don\'t delete or define anew', route.preHandler)
  }
}
