/** The names of routes: one for each, and one for each bucket of requests that count together. */
import type { RouteOptions } from 'fastify'

/** A route as Fastify's onRoute hooks see it. */
export type RouteWithMethod = Pick<RouteOptions, 'method' | 'url' | 'constraints'> & { prefix?: string }

/** One name for a route's own bucket: `GET /search`. HEAD counts with GET, and routes that differ in version or host count apart. */
export function routeName (route: RouteWithMethod): string {
  return nameOf(methodsOf(route).join(','), route)
}

/**
 * Returns the names of a route's own bucket, one for each of its methods, since Fastify adds HEAD as a route of its own. In a scope with a
 * prefix it adds HEAD for the prefix with a slash too, whose GET is that of the bare prefix: that is the alias.
 */
export function bucketNames (route: RouteWithMethod): { names: string[], alias?: string } {
  const names = methodsOf(route).map((method) => nameOf(method, route))
  const { method, url, prefix = '' } = route
  return method === 'HEAD' && prefix !== '' && url === `${prefix}/` ? { names, alias: nameOf('GET', { ...route, url: prefix }) } : { names }
}

function methodsOf ({ method }: RouteWithMethod): string[] {
  return [...new Set([method].flat().map((name) => name === 'HEAD' ? 'GET' : name))]
}

function nameOf (method: string, { url, constraints }: RouteWithMethod): string {
  const apart = Object.entries(constraints ?? {}).map(([name, value]) => ` ${name}=${String(value)}`)
  return `${method} ${url}${apart.join('')}`
}
