/**
 * Clients that a proxy hides. Unless Fastify is told to trust the proxy, `request.ip` is the proxy's address: a limit by address, and the
 * fair share of a thread pool, then count all of the proxy's clients as one.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { logSafely } from './log.ts'

/** Returns the options that the app was made with, which Fastify doesn't publish; none if a later version keeps them elsewhere. */
export function fastifyOptionsOf (app: FastifyInstance): Readonly<Record<string, unknown>> {
  for (let scope: object | null = app; scope !== null; scope = Object.getPrototypeOf(scope) as object | null) {
    const key = Object.getOwnPropertySymbols(scope).find(({ description }) => description === 'fastify.options')
    if (key !== undefined) return (scope as Record<symbol, Record<string, unknown> | undefined>)[key] ?? {}
  }
  return {}
}

export function trustProxyOf (app: FastifyInstance): unknown {
  return fastifyOptionsOf(app)['trustProxy']
}

/** The servers whose log has the warning. Each plugin of an app has a watch of its own; the warning is for the app. */
const warned = new WeakSet<object>()

/**
 * Returns a function to call with each request whose client is told by its address. The function warns once for an app, at the first
 * request that carries X-Forwarded-For while `trustProxy` isn't set. An explicit `false` is set: then there is no proxy, and a client
 * that sends the field has made it up.
 */
export function watchForwarded (app: FastifyInstance): (request: FastifyRequest) => void {
  const trustProxy = trustProxyOf(app)
  let isWatching = !trustProxy && trustProxy !== false
  return (request) => {
    if (!isWatching || request.headers['x-forwarded-for'] === undefined) return
    isWatching = false
    if (warned.has(app.server)) return
    warned.add(app.server)
    logSafely(app.log, 'warn', {}, 'a request has X-Forwarded-For, and trustProxy is not set: behind a proxy all clients have the proxy\'s address, so they share ' +
      'one limit by address and one share of the thread pool. Fix: trustProxy: the addresses of your proxies, for example [\'127.0.0.1\', ' +
      '\'10.0.0.0/8\']; or false, if there is no proxy')
  }
}
