/** Tracked values: objects, arrays, Maps and Sets behind Proxies that tell the detector of each access. */
import { types } from 'node:util'
import type { Inner } from './rule.ts'
import type { Collection, Locations } from './shadow.ts'

/** The whole of a collection, as the key of a location. */
export const WHOLE = Symbol('whole')

/** A collection that is tracked. */
export class Tracked<T extends object = object> implements Collection {
  readonly target: T
  readonly name: string
  readonly isLww: boolean
  readonly locations: Locations = new Map()
  reads = 0
  hasWindows = false

  constructor (target: T, name: string, isLww: boolean) {
    this.target = target
    this.name = name
    this.isLww = isLww
  }

  nameOf (key: unknown): string {
    if (typeof key === 'symbol') return this.name
    if (this.target instanceof Map) return `${this.name}.get(${show(key)})`
    if (this.target instanceof Set) return `${this.name}.has(${show(key)})`
    return typeof key === 'string' && /^#?[A-Za-z_$][\w$]*$/.test(key) ? `${this.name}.${key}` : `${this.name}[${show(key)}]`
  }

  /** Makes a value that was read out of the collection tracked too, if it can be. */
  nested (value: unknown, key: unknown): unknown {
    return isPlain(value) ? track(value, this.nameOf(key), this.isLww) : value
  }
}

function show (key: unknown): string {
  return typeof key === 'string' ? JSON.stringify(key.length > 60 ? `${key.slice(0, 60)}…` : key) : typeof key === 'object' || typeof key === 'function' ? 'an object' : String(key)
}

type Handlers = (tracked: Tracked) => ProxyHandler<object>

/** What is tracked, by the values themselves. */
const tracked = new WeakMap<object, Tracked>()

/**
 * Returns what knows the fields of an object that has no proxy: rewritten code tells of them itself.
 *
 * @param path the object in the source, for its name
 */
export function trackedOf (target: object, path: string): Tracked {
  let known = tracked.get(target)
  if (known === undefined) {
    const { name = path } = typeof target === 'function' ? target : Object.getPrototypeOf(target)?.constructor ?? {} as { name?: string }
    tracked.set(target, known = new Tracked(target, path === 'this' ? name : path, false))
  }
  return known
}

/** Returns the locations within a value, with what is there now. */
export function within (value: unknown): Inner[] {
  const known = typeof value === 'object' && value !== null ? tracked.get(unwrap(value)) : undefined
  if (known === undefined) return []
  const { target, locations } = known
  const isMap = target instanceof Map
  const size = isMap || target instanceof Set ? target.size : Array.isArray(target) ? target.length : undefined
  return [...locations].map(([key, location]) => {
    if (key === WHOLE) return { location, now: size, isThere: true }
    const isThere = isMap || target instanceof Set ? target.has(key) : Object.hasOwn(target, key as PropertyKey)
    return { location, isThere, now: isMap ? target.get(key) : target instanceof Set ? isThere : Reflect.get(target, key as PropertyKey) as unknown }
  })
}

const proxies = new WeakMap<object, object>()
const targets = new WeakMap<object, object>()
const handlers: Partial<Record<'array' | 'map' | 'set' | 'object', Handlers>> = {}

/** Each kind of proxy adds its own handlers, which need this module. */
export function handle (kind: keyof typeof handlers, create: Handlers): void {
  handlers[kind] = create
}

/** Returns the value itself of a tracked one, and anything else as it is. */
export function unwrap<T> (value: T): T {
  return (typeof value === 'object' && value !== null ? targets.get(value) ?? value : value) as T
}

export function isTracked (value: object): boolean {
  return targets.has(value)
}

/** Returns the proxy of a target, which is one and the same for as long as the target lives. */
export function track<T extends object> (target: T, name: string, isLww: boolean): T {
  if (targets.has(target)) return target
  const known = proxies.get(target)
  if (known !== undefined) return known as T
  const kind = Array.isArray(target) ? 'array' : types.isMap(target) ? 'map' : types.isSet(target) ? 'set' : 'object'
  const created = new Tracked(target, name, isLww)
  tracked.set(target, created)
  const proxy = new Proxy(target, handlers[kind]?.(created) ?? {}) as T
  proxies.set(target, proxy)
  targets.set(proxy, target)
  return proxy
}

const plain = new Set<unknown>([Object.prototype, null, Array.prototype, Map.prototype, Set.prototype])

/** Values that are tracked without being named: those of classes may have private fields, which a Proxy doesn't have. */
export function isPlain (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !types.isProxy(value) && plain.has(Object.getPrototypeOf(value)) && !Object.isFrozen(value)
}

/**
 * Returns a copy in which nothing is tracked, for what goes to a thread: a Proxy can't be cloned. What holds no tracked value is returned as it
 * is.
 */
export function unwrapDeep (value: unknown, depth = 8): unknown {
  const raw = unwrap(value)
  if (typeof raw !== 'object' || raw === null || depth === 0 || !plain.has(Object.getPrototypeOf(raw))) return raw
  if (raw instanceof Map || raw instanceof Set) return raw
  const entries = Object.entries(raw).map(([key, field]) => [key, field, unwrapDeep(field, depth - 1)] as const)
  if (entries.every(([, field, clean]) => field === clean)) return raw
  return Object.assign(Array.isArray(raw) ? [...raw as unknown[]] : { ...raw }, Object.fromEntries(entries.map(([key, , clean]) => [key, clean])))
}
