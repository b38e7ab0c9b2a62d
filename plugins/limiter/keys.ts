/** Whose bucket a request belongs to. A request never gets round a limit by what it leaves out or sends too much of. */
import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { LimitInvalidError } from '../shared/errors.ts'
import { brief } from './functions.ts'
import { after, type MaybePromise } from './maybe.ts'
import { ownCopy } from './stores/own-copy.ts'
import type { ResolvedPolicy } from './policies.ts'

/** Longer keys are stored by their digest, so that a store's memory is bounded by its number of keys. */
const LONGEST = 256
/** Begins the stored keys of our own making: a digest, and the address in place of a key. */
const OWN = '\0'

/** A client's address as a key: IPv6 by its prefix, since a client has a whole one; IPv4 written as IPv6 as IPv4. */
export type AddressKey = (ip: string | undefined) => string

/** The spellings of an address that a key must not differ by: brackets, the port that some proxies write beside it, an IPv6 zone. */
const SPELLING = /^(?:\[([^\]%]+)(?:%[^\]]*)?\](?::\d+)?|([^:]+):\d+|([^[%]+)%.*)$/
/** No address is longer, however it is written. What is longer comes from a client, by way of a proxy that is trusted: not worth parsing. */
const LONGEST_ADDRESS = 100

/** Returns the address without what may be written around it. */
export function plainAddress (ip: string): string {
  return ip.length <= LONGEST_ADDRESS ? ip.replace(SPELLING, '$1$2$3') : ip
}

/** How many addresses to remember: parsing an IPv6 address costs more than everything else that a limiter does for a request. */
const REMEMBERED = 1000

export function createAddressKey (normalize: (ip: string) => string): AddressKey {
  const remembered = new Map<string, string>()
  return (ip = '') => {
    // IPv4 needs no parsing; a Unix socket has no address: its clients share one bucket.
    if (!ip.includes(':') || ip.length > LONGEST_ADDRESS) return ip
    let key = remembered.get(ip)
    if (key === undefined) {
      if (remembered.size >= REMEMBERED) remembered.clear()
      remembered.set(ownCopy(ip), key = ownCopy(normalize(plainAddress(ip))))
    }
    return key
  }
}

/** Returns the key as a store and `limiter.wait()` keep it: a short one as it is. No two keys are stored alike. */
export function storedKey (key: string): string {
  // As UTF-8, which Redis stores, all lone surrogates would be one character.
  if (key.length <= LONGEST && !key.startsWith(OWN) && key.isWellFormed()) return key
  return `${OWN}sha256:${createHash('sha256').update(key, 'utf16le').digest('hex')}`
}

/** Returns how the address in place of a missing key is stored: marked, so that nobody can spend its tokens by sending it as a key. */
export function storedSubstitute (address: string): string {
  return `${OWN}address:${storedKey(address)}`
}

/** Reads the client's address of a request. */
export type AddressOf = (request: FastifyRequest) => string | undefined

/** Reads the request's key for a policy that isn't by address; undefined if it has none. Throws FC_ERR_LIMIT_INVALID, or what the key function throws. */
export function readKey ({ name, key }: ResolvedPolicy, request: FastifyRequest): MaybePromise<string | undefined> {
  if (key === 'none' || key === 'address') return ''
  if (typeof key !== 'function') return checkedKey(name, readHeader(request, key.header))
  return after(key(request), (value) => checkedKey(name, value))
}

function readHeader ({ headers }: FastifyRequest, name: string): string | undefined {
  if (name !== 'host') return headers[name]?.toString()
  // HTTP/2 clients send `:authority` in its place, as Fastify's request.host knows. A host is the same in capitals.
  return (headers.host || headers[':authority']?.toString())?.toLowerCase()
}

/** The key as text; undefined if there is none. An object is a mistake: as text, all of them would be one key. */
export function checkedKey (policy: string, value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'bigint') return String(value)
  throw new LimitInvalidError(policy, 'key', 'a string or a number', brief(value))
}
