/** The boot checks. A mistake that would weaken the limits is an error or a warning at boot. */
import cluster from 'node:cluster'
import type { FastifyInstance, preHandlerHookHandler } from 'fastify'
import { fastifyOptionsOf } from '../shared/private.ts'
import { ensure } from '../shared/options.ts'
import { endsWith } from './hooks.ts'
import { hasRules, routeName, type RouteConfig, type RouteRules, type RouteWithConfig } from './route-rules.ts'

/** Refuses a registration whose decorators exist already. Throws FC_ERR_OPTION_INVALID. */
export function ensureFree (app: FastifyInstance): void {
  ensure(!app.hasDecorator('limiter'), 'limiter', 'to be registered once, without another decorator of that name',
    'a second registration, or a decorator of your own')
  for (const name of ['createRateLimit', 'rateLimit']) {
    ensure(!app.hasDecorator(name), '@fastify/rate-limit', 'to be registered by the limiter only', `a registration, or a decorator "${name}", of your own`)
  }
}

/** Warns a cluster worker without Redis: each worker has limits of its own, so with n workers a client gets n times its limit. */
export function checkCluster (app: FastifyInstance, hasRedis: boolean): void {
  if (!cluster.isWorker || hasRedis) return
  app.log.warn('limiter: this is a cluster worker and its limits are in its own memory, so n workers grant n times as much. Fix: pass redis')
}

/** Fastify's own list of a scope's plugins: a name for each registration. `hasPlugin` can't tell a second registration from the first. */
const kPlugins = Symbol.for('registered-plugin')

interface Scope extends FastifyInstance {
  [kPlugins]?: ArrayLike<string>
}

/**
 * Warns of a registration of @fastify/rate-limit after the limiter's own. The later one works as its user expects, so it is no error: its
 * limits apply in addition to the limiter's.
 *
 * @param scopes the instances in which plugins may have been registered
 */
export function checkRateLimit (app: FastifyInstance, scopes: readonly Scope[]): void {
  const isSecond = scopes.some(({ [kPlugins]: names = [] }) => Array.from(names).filter((name) => name === '@fastify/rate-limit').length > 1)
  if (!isSecond) return
  app.log.warn('limiter: @fastify/rate-limit is registered a second time, and its limits apply in addition to the limiter\'s. Fix: remove your ' +
    'registration, since the limiter makes one; config.rateLimit, app.rateLimit() and app.createRateLimit() work without yours')
}

/**
 * Checks whether the addresses of clients can be trusted. Under `trustProxy: true` an address is whatever the client writes into
 * X-Forwarded-For, so each request can be a new key. A number as `trustProxy` is refused: Fastify ignores it since 5.12.1, so all clients
 * behind the proxy would share one bucket.
 */
export class AddressChecks {
  readonly #app: FastifyInstance
  readonly #limits = new Set<string>()

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  /** Adds a limit by address. Throws FC_ERR_OPTION_INVALID for a numeric `trustProxy`. */
  add (limit: string): void {
    const trustProxy = fastifyOptionsOf(this.#app)['trustProxy']
    ensure(typeof trustProxy !== 'number', 'trustProxy', 'the addresses of your proxies, or a function: Fastify ignores a number, so clients behind a proxy would share one bucket', trustProxy)
    this.#limits.add(limit)
  }

  /** Warns of all limits by address in one line. */
  warn (): void {
    if (this.#limits.size === 0 || fastifyOptionsOf(this.#app)['trustProxy'] !== true) return
    this.#app.log.warn({ limits: [...this.#limits] },
      'limiter: with trustProxy: true a client can forge its address in X-Forwarded-For, a new one for each request, and ' +
      'bypass limits by address. Fix: trustProxy: the addresses of your proxies, for example [\'127.0.0.1\', \'10.0.0.0/8\']')
  }
}

/** A route as Fastify passes it from one onRoute hook to the next, with the config that the limiter read and the rules that it made. */
export interface PreparedRoute {
  route: RouteWithConfig
  limiter: RouteConfig['limiter']
  rules: RouteRules
  /** The limiter's hooks after all other preHandlers of the route. */
  last: readonly preHandlerHookHandler[]
}

/**
 * Refuses a route that an onRoute hook changed after the limiter had read it, because the limit that the change sets or removes would be
 * ignored. Throws FC_ERR_OPTION_INVALID.
 *
 * @param standard the rules of a route without a config of its own
 */
export function checkPrepared (prepared: readonly PreparedRoute[], standard: RouteRules): void {
  for (const { route, limiter, rules, last } of prepared) {
    const { config = {} } = route
    const expected = 'set before the limiter reads it: by the route itself, or by an onRoute hook that is added before the limiter is registered'
    ensure(config.limiter === limiter, `${routeName(route)}: config.limiter`, expected, config.limiter)
    ensure(config.rateLimit === undefined, `${routeName(route)}: config.rateLimit`, expected, config.rateLimit)
    ensure(hasRules(config, rules) || rules === standard, `${routeName(route)}: config`, 'an object that onRoute hooks extend, and don\'t replace: { ...route.config }', config)
    ensure(endsWith(route.preHandler, last), `${routeName(route)}: preHandler`, 'a property that onRoute hooks set, and don\'t delete or define anew', route.preHandler)
  }
}

interface PrintedRoute {
  /** Method and path. */
  name: string
  /** The names of the route's hooks. */
  hooks: string
}

/**
 * Returns the routes of the whole app, read from `printRoutes`. No other public list has the routes that were added before the limiter, or
 * outside its scope, and such a route would be unlimited in silence. Empty if the application has a `buildPrettyMeta` of its own that can't
 * print every route.
 */
export function printedRoutes (app: FastifyInstance): PrintedRoute[] {
  const routes: PrintedRoute[] = []
  const path: string[] = []
  let node: PrintedRoute[] = []
  for (const line of print(app).split('\n')) {
    const depth = line.search(/[^│├└─ ]/) / 4
    const text = line.slice(depth * 4)
    if (text.startsWith('•')) {
      for (const route of node) route.hooks += text
      continue
    }
    const [, segment = text, methods = ''] = /^(.*?) \(([A-Z, -]+)\)/.exec(text) ?? []
    path.splice(depth - 1, Infinity, text === '(empty root node)' ? '' : segment)
    node = methods === '' ? [] : methods.split(', ').map((method) => ({ name: `${method} ${path.join('')}`, hooks: '' }))
    routes.push(...node)
  }
  return routes
}

function print (app: FastifyInstance): string {
  try {
    return app.printRoutes({ includeHooks: true })
  } catch {
    return ''
  }
}

/**
 * Warns of the routes that the limiter doesn't reach: routes without its onRequest hook and, if there are policies for all routes in the
 * preHandler stage, routes that were added before the limiter. The print shows no hooks if a tracer wraps them, or if the application prints
 * its routes in its own way. Then no route has the limiter's hook in the print, and there is no warning.
 *
 * @param hook the name of the onRequest hook
 * @param early the routes that were added before the limiter and pass its preHandler stage unchecked
 */
export function checkRoutes (app: FastifyInstance, hook: string, prepared: readonly PreparedRoute[], early: readonly string[]): void {
  const printed = printedRoutes(app)
  const outside = printed.filter(({ hooks }) => !hooks.includes(`"${hook}()"`)).map(({ name }) => name)
  const isReadable = outside.length < printed.length || prepared.length === 0
  const routes = [...new Set([...isReadable ? outside : [], ...early])]
  if (routes.length === 0) return
  app.log.warn({ routes },
    `limiter: ${routes.join(', ')} escape the limiter: declared before it, or outside the scope that registered it. ` +
    'Fix: register the limiter first, on the app itself')
}
