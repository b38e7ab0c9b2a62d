/** Whose bucket a request belongs to. A request never gets round a limit by what it leaves out or sends too much of. */
import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import type { FastifyRequest } from 'fastify'
import { LimitInvalidError, LimitKeyMissingError } from '../errors.ts'
import { after, type MaybePromise } from './maybe.ts'
import type { ResolvedPolicy } from './policies.ts'

/** Longer keys are stored by their digest, so that the table's memory is bounded by its number of keys. */
const LONGEST = 256
/** Marks keys of our own making: no key from outside begins with it as it is stored. */
const OWN = '\0'

/** A client's address as a key: IPv6 by its prefix, since a client has a whole one; IPv4 written as IPv6 as IPv4. */
export type AddressKey = (ip: string | undefined) => string

/** Some proxies write the client's port into X-Forwarded-For: with it, each connection would be a new client. */
const PORT = /^(?:\[(.+)\]|([^:]+)):\d+$/

/** How many addresses to remember: parsing an IPv6 address costs more than everything else that a limiter does for a request. */
const REMEMBERED = 1000

export function createAddressKey (normalize: (ip: string) => string): AddressKey {
  const remembered = new Map<string, string>()
  return (ip = '') => {
    // IPv4 needs no parsing; a Unix socket has no address: its clients share one bucket.
    if (!ip.includes(':')) return short(ip)
    let key = remembered.get(ip)
    if (key === undefined) {
      if (remembered.size >= REMEMBERED) remembered.clear()
      remembered.set(ip, key = short(normalize(ip.replace(PORT, '$1$2'))))
    }
    return key
  }
}

function short (key: string): string {
  return key.length <= LONGEST && !key.startsWith(OWN) ? key : `${OWN}sha256:${createHash('sha256').update(key).digest('hex')}`
}

/** The request's key for the policy. Throws FC_ERR_LIMIT_KEY_MISSING, FC_ERR_LIMIT_INVALID, or what the key function throws. */
export function readKey (policy: ResolvedPolicy, request: FastifyRequest, addressKey: AddressKey): MaybePromise<string> {
  const { key } = policy
  if (key === 'none') return ''
  if (key === 'address') return addressKey(request.ip)
  if (typeof key !== 'function') return checkedKey(policy.name, request.headers[key.header]?.toString()) ?? missingKey(policy, request, addressKey)
  return after(key(request), (value) => checkedKey(policy.name, value) ?? missingKey(policy, request, addressKey))
}

/** The key as it is stored; undefined if there is none. An object is a mistake: as text, all of them would be one key. */
export function checkedKey (policy: string, value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string') return short(value)
  if (typeof value === 'number' || typeof value === 'bigint') return String(value)
  throw new LimitInvalidError(policy, 'key', 'a string or a number', inspect(value, { depth: 0 }).slice(0, 200))
}

function missingKey (policy: ResolvedPolicy, request: FastifyRequest, addressKey: AddressKey): string {
  if (policy.missingKey === 'reject') throw new LimitKeyMissingError(policy.expose ? policy.name : undefined)
  // Marked, so that nobody can spend an address's tokens by sending it as a key.
  return OWN + addressKey(request.ip)
}

/** The key that code passes for a policy: an address is grouped as a request's would be. */
export function callKey (policy: ResolvedPolicy, key: unknown, addressKey: AddressKey): string {
  if (policy.key === 'address' && typeof key === 'string') return addressKey(key)
  return checkedKey(policy.name, key) ?? ''
}
