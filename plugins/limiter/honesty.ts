/** What would make the limits mean less than they say, told at boot. */
import cluster from 'node:cluster'
import type { FastifyInstance } from 'fastify'
import { ensure } from '../options.ts'
import type { ResolvedPolicy } from './policies.ts'
import { routeName, type RouteConfig, type RouteWithConfig } from './routes.ts'

/** Fastify doesn't publish its `trustProxy`; undefined too if a later version keeps it elsewhere. */
export function trustProxyOf (app: FastifyInstance): unknown {
  for (let scope: object | null = app; scope !== null; scope = Object.getPrototypeOf(scope) as object | null) {
    const key = Object.getOwnPropertySymbols(scope).find(({ description }) => description === 'fastify.options')
    if (key !== undefined) return (scope as Record<symbol, { trustProxy?: unknown } | undefined>)[key]?.trustProxy
  }
  return undefined
}

function limitsByAddress (policy: ResolvedPolicy): boolean {
  return policy.key === 'address' || policy.missingKey === 'address'
}

/**
 * Whose address is an address? Under `trustProxy: true` whatever a client writes in X-Forwarded-For: each request may be a new key.
 * A number is refused: Fastify ignores it since 5.12.1, so all clients behind the proxy would share its bucket.
 */
export function checkAddresses (app: FastifyInstance, policies: ReadonlyMap<string, ResolvedPolicy>): void {
  const trustProxy = trustProxyOf(app)
  const byAddress = [...policies.values()].filter(limitsByAddress).map(({ name }) => name)
  if (byAddress.length === 0) return
  ensure(typeof trustProxy !== 'number', 'trustProxy', 'the addresses of your proxies, or a function: Fastify ignores a number, so clients behind a proxy would share one bucket', trustProxy)
  if (trustProxy !== true) return
  app.log.warn({ policies: byAddress },
    'limiter: under trustProxy: true a client writes its own address into X-Forwarded-For, a new one for each request if it likes, and ' +
    'gets round limits by address. Fix: trustProxy: the addresses of your proxies, for example [\'127.0.0.1\', \'10.0.0.0/8\']')
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
 * Names the routes that the limiter doesn't reach.
 * @param hooks names of the hooks that every route should have
 */
export function checkRoutes (app: FastifyInstance, hooks: readonly string[]): void {
  const routes = printedRoutes(app)
    .filter((route) => hooks.some((hook) => !route.hooks.includes(`"${hook}()"`)))
    .map(({ name }) => name)
  if (routes.length === 0) return
  app.log.warn({ routes },
    `limiter: ${routes.join(', ')} escape the limiter: declared before it, or outside the scope that registered it. ` +
    'Fix: register the limiter first, on the app itself')
}

/** A route as Fastify hands it from one onRoute hook to the next, and what its config said when the limiter read it. */
export interface PreparedRoute {
  route: RouteWithConfig
  limiter: RouteConfig['limiter']
}

/** An onRoute hook that was added after the limiter may change a config that has been read: the limit that it sets would never be. */
export function checkPrepared (prepared: readonly PreparedRoute[]): void {
  for (const { route, limiter } of prepared) {
    const { config = {} } = route
    const expected = 'set before the limiter reads it: by the route itself, or by an onRoute hook that is added before the limiter is registered'
    ensure(config.limiter === limiter, `${routeName(route)}: config.limiter`, expected, config.limiter)
    ensure(config.rateLimit === undefined, `${routeName(route)}: config.rateLimit`, expected, config.rateLimit)
  }
}
