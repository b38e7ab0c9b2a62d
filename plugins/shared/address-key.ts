/** Distinguishes clients by their addresses. The address is the default key of jobs, tasks and limits. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { logSafely } from './log.ts'
import { fastifyOptionsOf } from './private.ts'

/**
 * Returns the key of a client by its address: IPv6 by its /64 prefix, because one client has a whole prefix and would otherwise take a
 * share for each of its addresses. An IPv4-mapped IPv6 address counts as its IPv4 address.
 */
export function addressKey (ip: string): string {
  if (!ip.includes(':')) return ip
  if (ip.includes('.')) return ip.slice(ip.lastIndexOf(':') + 1)
  const [address = ''] = ip.split('%', 1)
  const [head = '', tail] = address.split('::', 2)
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const last = tail === '' ? [] : tail.split(':')
    while (groups.length + last.length < 8) groups.push('0')
    groups.push(...last)
  }
  return `${groups.slice(0, 4).join(':')}::/64`
}

/** The servers whose log has the warning. Each plugin of an app has a watch of its own; the warning is for the app. */
const warned = new WeakSet<object>()

/**
 * Returns a function to call with each request whose client is identified by its address. The function warns once for an app, at the first
 * request that carries X-Forwarded-For while `trustProxy` isn't set: `request.ip` is then the proxy's address, and all of its clients count
 * as one. An explicit `false` is set: there is no proxy, and a client that sends the field has made it up.
 */
export function watchForwarded (app: FastifyInstance): (request: FastifyRequest) => void {
  const trustProxy = fastifyOptionsOf(app)['trustProxy']
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
