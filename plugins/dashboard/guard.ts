/**
 * Decides who may use the dashboard. Two kinds of intruder come to a service that runs on a developer's machine: a proxy or tunnel that forwards
 * requests of strangers, and a web page in the developer's own browser, which can send requests to loopback addresses. Neither can forge what is
 * checked here: the socket's address is the kernel's; forwarders announce themselves in headers, or spell Host as no browser does; and a browser
 * writes Host, Origin and Sec-Fetch-Site itself, whatever a page asks for. A forwarder of bytes (a tunnel of TCP) changes nothing, and can't be told.
 */
import type { IncomingHttpHeaders } from 'node:http'

/** What is known of a request before it is answered. */
export interface Visit {
  method: string
  httpVersion: string
  /** The address of the socket's other end; undefined for a Unix socket, behind which a proxy may stand. */
  address: string | undefined
  headers: IncomingHttpHeaders
  /** Names and values by turns, as they came: a field that came twice is there twice. */
  rawHeaders: readonly string[]
  /** The target of the request line. */
  target: string
  /** The request was made by inject(), in this process. Nobody has forwarded it over a network. */
  isInjected?: boolean
}

/** Headers by which proxies, tunnels and CDNs say that they forward somebody else's request, beside all that begin as in `isForwarding`. */
const forwarding = new Set(['forwarded', 'via', 'x-real-ip', 'x-client-ip', 'x-cluster-client-ip', 'client-ip', 'true-client-ip', 'x-original-host', 'x-envoy-external-address', 'x-azure-clientip', 'x-appengine-user-ip', 'x-nf-client-connection-ip', 'x-vercel-id', 'fly-client-ip'])
const isForwarding = (name: string): boolean => /^(?:x-forwarded|x-original-forwarded|cf-|fastly-|x-amzn-)/.test(name) || forwarding.has(name)
/** A proxy may write them with underscores, as in CGI. */
const dashed = (name: string): string => name.replaceAll('_', '-')

const isLoopbackAddress = (address: string): boolean => /^(?:::ffff:)?127\.\d+\.\d+\.\d+$/.test(address) || address === '::1'
const isLoopbackHost = (host: string): boolean => /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/i.test(host)

/** All hosts that a request names, since whoever forwarded it may have gone by any: HTTP/2 has a field of its own, and a target may be a whole URL. */
function hostsOf ({ rawHeaders, target }: Visit): string[] {
  const fields = rawHeaders.filter((_, index) => index % 2 === 1 && /^(?:host|:authority)$/i.test(rawHeaders[index - 1] ?? ''))
  const [, ofTarget] = /^[a-z][a-z\d+.-]*:\/\/([^/?#]*)/i.exec(target) ?? []
  return ofTarget === undefined ? fields : [...fields, ofTarget]
}

function isEvery (hosts: string[], holds: (host: string) => boolean): boolean {
  return hosts.length > 0 && hosts.every(holds)
}

/**
 * Tells whether a program has spelt Host: browsers and curl write `Host` in HTTP/1.1. Proxies in Node.js (@fastify/http-proxy, @fastify/reply-from,
 * http-proxy, the servers of Vite and webpack) send the names that they have parsed, in lower case, and may add no header and replace the host.
 */
function isSpeltByProgram ({ rawHeaders, isInjected = false }: Visit): boolean {
  return !isInjected && rawHeaders.some((name, index) => index % 2 === 0 && name !== 'Host' && name.toLowerCase() === 'host')
}

/** Returns why a service that listens there shows nobody the dashboard without `authorize`, or undefined if it listens on loopback addresses only. */
export function whyNotListening (addresses: readonly string[]): string | undefined {
  const open = addresses.find((address) => !isLoopbackAddress(address))
  return open === undefined ? undefined : `the service listens on ${open} for other machines, which needs the option dashboard.authorize`
}

/** Returns why a request that no `authorize` judges is refused, or undefined if it may pass. */
export function whyNotLocal (visit: Visit): string | undefined {
  const { httpVersion, address, headers } = visit
  if (address === undefined || !isLoopbackAddress(address)) return 'it answers clients on the same machine only, unless the option dashboard.authorize decides'
  const forwarder = Object.keys(headers).find((name) => isForwarding(dashed(name)))
  if (forwarder !== undefined) return `the header ${forwarder} says that the request was forwarded, which needs the option dashboard.authorize`
  // nginx that is told no more than proxy_pass sends nothing of the client, and Host with the address of this service; but it speaks HTTP/1.0.
  if (httpVersion === '1.0') return 'HTTP/1.0 is what a proxy speaks, and not a browser, which needs the option dashboard.authorize'
  // Names are in lower case there, whoever has sent them.
  if (httpVersion !== '1.1') return `HTTP/${httpVersion} doesn't tell a browser from a proxy, which needs the option dashboard.authorize`
  if (isSpeltByProgram(visit)) return 'its field "host" is spelt as a proxy in Node.js spells it, and no browser does, which needs the option dashboard.authorize'
  // A name that an attacker's DNS server points to 127.0.0.1 makes a page of the attacker's the same origin as the dashboard.
  if (!isEvery(hostsOf(visit), isLoopbackHost)) return 'its host is not localhost, 127.0.0.1 or [::1], which needs the option dashboard.authorize'
  return undefined
}

/** Returns why a request is refused whose host is not among those of the option `hosts`, with any port or with the port that the option names. */
export function whyNotHost (visit: Visit, allowed: readonly string[]): string | undefined {
  const isAllowed = (host: string): boolean => [host.toLowerCase(), host.toLowerCase().replace(/:\d+$/, '')].some((each) => allowed.includes(each))
  return isEvery(hostsOf(visit), isAllowed) ? undefined : 'its host is not among those of the option dashboard.hosts'
}

/**
 * Returns why a request that a page of another site may have sent is refused, or undefined if it may pass. A user may follow a link from another
 * site. Everything else must come from the page itself, and a POST must prove it: it ends a job.
 */
export function whyNotOwn (visit: Visit): string | undefined {
  const { method, headers } = visit
  const site = headers['sec-fetch-site']
  const origin = headers.origin
  const isOwn = site === undefined ? isEvery(hostsOf(visit), (host) => isOriginOf(origin, host)) : site === 'same-origin'
  if (isOwn) return undefined
  if (method === 'POST') return 'a POST must come from the page of the dashboard'
  const isLink = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
  // A client that is no browser sends neither header, and a browser sends `none` for an address that its user has typed.
  if ((site === undefined && origin === undefined) || site === 'none' || isLink) return undefined
  return 'a page of another site has sent it'
}

function isOriginOf (origin: string | undefined, host: string): boolean {
  return origin !== undefined && URL.canParse(origin) && new URL(origin).host.toLowerCase() === host.toLowerCase()
}
