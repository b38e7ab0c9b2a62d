/** Distinguishes clients by their addresses. The address is the default key of jobs, tasks and limits. */
import { isIP } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { logSafely } from './log.ts'
import { fastifyOptionsOf } from './private.ts'

/** Matches an address with what may be written around it: brackets, the port that some proxies add, an IPv6 zone. */
const SPELLING = /^(?:\[([^\]%]+)(?:%[^\]]*)?\](?::\d+)?|([^:]+):\d+|([^[%]+)%.*)$/
/**
 * No address is longer, however it is written. A longer text was sent by a client through a trusted proxy, and isn't
 * parsed.
 */
const LONGEST_ADDRESS = 100

/** How many keys are remembered, because parsing an IPv6 address costs more than the rest of a limiter's decision. */
const REMEMBERED = 1_000
const remembered = new Map<string, { readonly bits: number, readonly key: string }>()

/**
 * Returns a copy of the text that doesn't refer to a longer text. V8 makes a substring of 13 characters or more a view
 * of its parent. So a key that is cut out of a header field of 16 kB, as an address is cut out of X-Forwarded-For,
 * would keep the whole field in memory.
 */
export function ownCopy (text: string): string {
  // The copy is exact for any text, lone surrogates included, and one flat string. A copy by concatenation would again
  // be a view.
  return text.length < 13 ? text : JSON.parse(JSON.stringify(text)) as string
}

/** Returns the address without what may be written around it. */
export function plainAddress (ip: string): string {
  return ip.length <= LONGEST_ADDRESS ? ip.replace(SPELLING, '$1$2$3') : ip
}

/**
 * Returns the key of a client by its address: IPv6 by its prefix, because one client has a whole prefix and would
 * otherwise take a share for each of its addresses. An IPv4 address written as IPv6 counts as the IPv4 address. A Unix
 * socket has no address: its clients share one key.
 *
 * @param bits how many leading bits of an IPv6 address are its prefix
 */
export function addressKey (ip = '', bits = 64): string {
  if (!ip.includes(':') || ip.length > LONGEST_ADDRESS) return ip
  const known = remembered.get(ip)
  if (known?.bits === bits) return known.key
  if (remembered.size >= REMEMBERED) remembered.clear()
  const key = ownCopy(parsedKey(ip, bits))
  remembered.set(ownCopy(ip), { bits, key })
  return key
}

function parsedKey (ip: string, bits: number): string {
  const address = plainAddress(ip)
  if (address.includes('.')) return address.slice(address.lastIndexOf(':') + 1)
  if (isIP(address) !== 6) return address
  const [head = [], tail] = address.split('::', 2).map(groupsOf)
  const groups = tail === undefined ? head : [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail]
  const [high = 0, low = 0] = groups.slice(6)
  if (groups.slice(0, 6).join() === '0,0,0,0,0,65535') return [high >> 8, high & 255, low >> 8, low & 255].join('.')
  const prefix = groups.slice(0,
    Math.ceil(bits / 16)).map((group, index) => (group & (0xffff << Math.max(0, 16 * (index + 1) - bits))).toString(16))
  return `${prefix.join(':')}::/${bits}`
}

/** Returns the numbers of a part of an IPv6 address. */
function groupsOf (part: string): number[] {
  return part === '' ? [] : part.split(':').map((group) => parseInt(group, 16))
}

/** The servers whose log has the warning. Each plugin of an app has a reader of its own; the warning is for the app. */
const warned = new WeakSet<object>()

/**
 * Returns the function that reads the address of a request's client. The function warns once for an app, at the first
 * request that carries X-Forwarded-For while `trustProxy` isn't set: `request.ip` is then the proxy's address, and all
 * of its clients count as one. An explicit `false` is set: there is no proxy, and a client that sends the field has
 * made it up.
 */
export function addressReader (app: FastifyInstance): (request: FastifyRequest) => string {
  const trustProxy = fastifyOptionsOf(app)['trustProxy']
  let isWatching = !trustProxy && trustProxy !== false
  return (request) => {
    if (!isWatching || request.headers['x-forwarded-for'] === undefined) return request.ip
    isWatching = false
    if (warned.has(app.server)) return request.ip
    warned.add(app.server)
    logSafely(app.log, 'warn', {},
      'a request has X-Forwarded-For, and trustProxy is not set: behind a proxy all clients have the proxy\'s address, so they share ' +
      'one limit by address and one share of the thread pool. Fix: trustProxy: the addresses of your proxies, for example [\'127.0.0.1\', ' +
      '\'10.0.0.0/8\']; or false, if there is no proxy')
    return request.ip
  }
}
