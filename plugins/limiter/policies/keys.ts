/** The keys of requests: a key names the bucket that a request takes from. A request can't bypass a limit by a missing or an oversized key. */
import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { describe } from '../../shared/describe.ts'
import { LimitInvalidError } from '../../shared/errors.ts'
import { after, isPromise, type MaybePromise } from '../functions.ts'

/** Reads a request's key. `undefined`, `null` and `''` mean that the request has none. */
export type KeyFunction = (request: FastifyRequest) => MaybePromise<string | number | bigint | null | undefined>

/** Where a request's key comes from. A header whose value isn't known is no key. */
export type KeySource = KeyFunction | {
  readonly header: string
  readonly isKnown: ((key: string, request: FastifyRequest) => MaybePromise<boolean>) | undefined
}

/** Longer keys are stored as their digest, so that a bound on the number of keys also bounds a store's memory. */
const LONGEST_KEY = 256
/** The first character of the keys that the limiter makes itself: digests, and addresses in place of missing keys. */
const OWN = '\0'

/** Returns the key as stores keep it: a short key as it is, a long key as its digest. No two keys are stored alike. */
export function storedKey (key: string): string {
  // Redis stores UTF-8, in which every lone surrogate becomes the same character, so that different keys would collide.
  if (key.length <= LONGEST_KEY && !key.startsWith(OWN) && key.isWellFormed()) return key
  return `${OWN}sha256:${createHash('sha256').update(key, 'utf16le').digest('hex')}`
}

/** Returns the stored key of an address in place of a missing key. The mark keeps a client from spending its tokens by sending the address as a key. */
export function storedSubstitute (address: string): string {
  return `${OWN}address:${storedKey(address)}`
}

/** Reads a request's key; undefined if there is none. Throws FC_ERR_LIMIT_INVALID, or what the application's function throws. */
export function readKey (policy: string, source: KeySource, request: FastifyRequest): MaybePromise<string | undefined> {
  if (typeof source === 'function') return after(source(request), (value) => checkedKey(policy, value))
  const key = checkedKey(policy, readHeader(request, source.header))
  if (key === undefined || source.isKnown === undefined) return key
  return after(source.isKnown(key, request), (known) => known ? key : undefined)
}

function readHeader ({ headers }: FastifyRequest, name: string): string | undefined {
  if (name !== 'host') return headers[name]?.toString()
  // HTTP/2 clients send `:authority` in place of the host, as Fastify's request.host knows. Host names are case-insensitive.
  return (headers.host || headers[':authority']?.toString())?.toLowerCase()
}

/**
 * Returns a key function for the onRequest stage, in which there is no body yet. If the function reads the body there and fails, or finds no key,
 * its error says where it belongs. The function is watched until it has given a key, since watching slows the request down.
 */
export function beforeBody (policy: string, key: KeyFunction): KeyFunction {
  let gaveKey = false
  return (request) => {
    if (gaveKey || request.body !== undefined) return key(request)
    const isBodyRead = watchBody(request)
    const fail = (cause?: unknown): never => {
      throw new LimitInvalidError(policy, 'key', "stage: 'preHandler' for a key of the body, which isn't parsed in onRequest", 'a key function that reads the body', { cause })
    }
    const found = (value: Awaited<ReturnType<KeyFunction>>) => {
      const wasRead = isBodyRead()
      const checked = checkedKey(policy, value)
      if (checked === undefined && wasRead) fail()
      gaveKey ||= checked !== undefined
      return checked
    }
    const failed = (error: unknown): never => {
      if (isBodyRead()) fail(error)
      throw error
    }
    let value: ReturnType<KeyFunction>
    try {
      value = key(request)
    } catch (error) {
      return failed(error)
    }
    return isPromise(value) ? Promise.resolve(value).then(found, failed) : found(value)
  }
}

/** Watches who reads the request's body. The returned function ends that, and reports whether the body was read. */
function watchBody (request: FastifyRequest): () => boolean {
  let body: unknown
  let wasRead = false
  const property = { enumerable: true, configurable: true }
  Object.defineProperty(request, 'body', { ...property, get () { wasRead = true; return body }, set (value) { body = value } })
  return () => {
    Object.defineProperty(request, 'body', { ...property, value: body, writable: true })
    return wasRead
  }
}

/** Returns the key as text; undefined if there is none. Throws FC_ERR_LIMIT_INVALID for an object, because all objects are the same text. */
export function checkedKey (policy: string, value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string') return value
  if (Number.isFinite(value) || typeof value === 'bigint') return String(value)
  throw new LimitInvalidError(policy, 'key', 'a string or a number', describe(value))
}
