/**
 * Tracked values, which tell the detector of each access: objects and arrays behind Proxies; Maps and Sets, weak ones too, with methods of their own.
 */
import { types } from 'node:util'
import { currentContext } from './context.ts'
import { fail } from './failure.ts'
import type { Inner } from './rule.ts'
import type { Collection, Locations } from './shadow.ts'

/** The whole of a collection, as the key of a location. */
export const WHOLE = Symbol('whole')

/** A collection that is tracked. */
export class Tracked<T extends object = object> implements Collection {
  readonly target: T
  name: string
  isLww: boolean
  readonly locations: Locations
  reads = 0
  hasWindows = false
  readonly isEarly = currentContext() === undefined
  readonly #kind: Kind

  constructor (target: T, name: string, isLww: boolean) {
    this.target = target
    this.name = name
    this.isLww = isLww
    this.#kind = kindOf(target)
    this.locations = isWeak(this.#kind) ? new WeakMap() : new Map()
  }

  /** The value of a key as it is now, and of a Set whether the key is in it. The methods of the target itself would tell of the access. */
  at (key: unknown): unknown {
    const target = this.target as never
    switch (this.#kind) {
      case 'map': return Map.prototype.get.call(target, key) as unknown
      case 'weakMap': return WeakMap.prototype.get.call(target, key as WeakKey) as unknown
      case 'set': case 'weakSet': return this.has(key)
      default: return Reflect.get(this.target, key as PropertyKey)
    }
  }

  has (key: unknown): boolean {
    const target = this.target as never
    switch (this.#kind) {
      case 'map': return Map.prototype.has.call(target, key)
      case 'set': return Set.prototype.has.call(target, key)
      case 'weakMap': return WeakMap.prototype.has.call(target, key as WeakKey)
      case 'weakSet': return WeakSet.prototype.has.call(target, key as WeakKey)
      default: return Object.hasOwn(this.target, key as PropertyKey)
    }
  }

  /** How many elements or entries there are; undefined for an object. */
  get size (): number | undefined {
    if (this.#kind === 'array') return (this.target as unknown as unknown[]).length
    const { prototype } = this.#kind === 'map' ? Map : Set
    return this.#kind === 'map' || this.#kind === 'set' ? Reflect.get(prototype, 'size', this.target) as number : undefined
  }

  nameOf (key: unknown): string {
    if (typeof key === 'symbol') return this.name
    if (this.#kind === 'map' || this.#kind === 'weakMap') return `${this.name}.get(${show(key)})`
    if (this.#kind === 'set' || this.#kind === 'weakSet') return `${this.name}.has(${show(key)})`
    return typeof key === 'string' && /^#?[A-Za-z_$][\w$]*$/.test(key) ? `${this.name}.${key}` : `${this.name}[${show(key)}]`
  }

  /** Makes a value that was read out of the collection tracked too, if it can be. */
  nested (value: unknown, key: unknown): unknown {
    try {
      return isPlain(value) ? track(value, this.nameOf(key), this.isLww) : value
    } catch (error) {
      fail(error)
      return value
    }
  }
}

function show (key: unknown): string {
  return typeof key === 'string' ? JSON.stringify(key.length > 60 ? `${key.slice(0, 60)}…` : key) : typeof key === 'object' || typeof key === 'function' ? 'an object' : String(key)
}

type Kind = 'object' | 'array' | 'map' | 'set' | 'weakMap' | 'weakSet'

function kindOf (target: object): Kind {
  if (Array.isArray(target)) return 'array'
  if (types.isMap(target)) return 'map'
  if (types.isSet(target)) return 'set'
  // The traps of a Proxy are the application's code.
  if (types.isProxy(target)) return 'object'
  return target instanceof WeakMap ? 'weakMap' : target instanceof WeakSet ? 'weakSet' : 'object'
}

/** What a weak collection holds must not be held by what is known of it. */
const isWeak = (kind: Kind): boolean => kind === 'weakMap' || kind === 'weakSet'

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
    const named: unknown = typeof target === 'function' ? target : (Object.getPrototypeOf(target) as object | null)?.constructor
    tracked.set(target, known = new Tracked(target, path === 'this' && typeof named === 'function' && named !== Object ? named.name : path, false))
  }
  return known
}

/** More locations within a value are not looked at. */
const MOST_WITHIN = 1_000

/** Returns the locations within a value, and within what is in it, with what is there now. */
export function within (value: unknown): Inner[] {
  const found: Inner[] = []
  const seen = new Set<Tracked>()
  const visit = (value: unknown): void => {
    const known = typeof value === 'object' && value !== null ? tracked.get(unwrap(value)) : undefined
    if (known === undefined || seen.has(known) || !(known.locations instanceof Map)) return
    seen.add(known)
    for (const [key, location] of known.locations) {
      if (found.length >= MOST_WITHIN) return
      const now = key === WHOLE ? known.size : known.at(key)
      found.push({ location, now, isThere: key === WHOLE || known.has(key) })
      visit(now)
    }
  }
  visit(value)
  return found
}

/** What stands for each tracked value: a Proxy of an object or array, and any other itself. */
const views = new WeakMap<object, object>()
const targets = new WeakMap<object, object>()
// As they are before identity.ts makes them ask for the value itself.
const { get: targetOf, has: hasTarget } = WeakMap.prototype as { get: (this: WeakMap<object, object>, key: unknown) => object | undefined, has: (this: WeakMap<object, object>, key: unknown) => boolean }
const creators: Partial<Record<Kind, (tracked: Tracked) => object>> = {}

/** Each kind of value adds how its view is made, which needs this module. */
export function view (kind: Kind, create: (tracked: Tracked) => object): void {
  creators[kind] = create
}

/** Returns the value itself of a tracked one, and anything else as it is. */
export function unwrap<T> (value: T): T {
  return (typeof value === 'object' && value !== null ? Reflect.apply(targetOf, targets, [value]) ?? value : value) as T
}

/** Returns the value for what stands for it, and what stands for a value; undefined for a value that isn't tracked, or is both. */
export function otherOf (value: unknown): object | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const other = Reflect.apply(targetOf, targets, [value]) ?? views.get(value)
  return other === value ? undefined : other
}

/** Returns what is known of a value that is tracked as a whole, or of what stands for it. */
export function knownOf (value: unknown): Tracked | undefined {
  const target = unwrap(value)
  return typeof target === 'object' && target !== null && views.has(target) ? tracked.get(target) : undefined
}

/** Gives a function the name and the length of the one that it stands in for. */
export function inPlaceOf<T extends (...args: never[]) => unknown> (original: unknown, fn: T): T {
  for (const key of ['name', 'length']) Object.defineProperty(fn, key, Object.getOwnPropertyDescriptor(original, key) ?? { value: fn.name })
  return fn
}

export function isTracked (value: object): boolean {
  return Reflect.apply(hasTarget, targets, [value])
}

/**
 * Gives a tracked value the name and the options that its application says: rewritten code has tracked it where it was made, before it came to
 * shared(). What was noted of it until then is forgotten.
 */
export function rename (value: object, name: string, isLww: boolean): void {
  const known = knownOf(value)
  if (known === undefined) return
  known.name = name
  known.isLww = isLww
  if (known.locations instanceof Map) known.locations.clear()
}

/** Returns what stands for a target, which is one and the same for as long as the target lives. */
export function track<T extends object> (target: T, name: string, isLww: boolean): T {
  if (isTracked(target)) return target
  const known = views.get(target)
  if (known !== undefined) return known as T
  const created = new Tracked(target, name, isLww)
  const made = creators[kindOf(target)]?.(created) as T
  tracked.set(target, created)
  views.set(target, made)
  targets.set(made, target)
  return made
}

const plain = new Set<unknown>([Object.prototype, null, Array.prototype])
const collections = new Set<unknown>([Map.prototype, Set.prototype, WeakMap.prototype, WeakSet.prototype])

/** Values that are tracked without being named: those of classes may have private fields, which a Proxy doesn't have. */
export function isPlain (value: unknown): value is object {
  if (typeof value !== 'object' || value === null || types.isProxy(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return plain.has(prototype) ? !Object.isFrozen(value) : collections.has(prototype) && Object.isExtensible(value)
}

/**
 * Returns a copy in which nothing is tracked, for what goes to a thread: a Proxy can't be cloned. What holds no tracked value is returned as it
 * is. Values may refer to each other in circles.
 */
export function unwrapDeep (value: unknown): unknown {
  return holdsTracked(value, new Set()) ? copied(value, new Map()) : value
}

/** Whether a value may hold proxies. What is in tracked Maps and Sets is kept without; what other built-in objects hold is theirs. */
function mayHold (raw: unknown): raw is object {
  return typeof raw === 'object' && raw !== null && !types.isProxy(raw) && (types.isMap(raw) || types.isSet(raw) || ['[object Object]', '[object Array]'].includes(Object.prototype.toString.call(raw)))
}

const elementsOf = (raw: object): unknown[] => types.isMap(raw) ? [...Map.prototype.entries.call(raw)].flat() : types.isSet(raw) ? [...Set.prototype.values.call(raw)] : Object.values(raw)

function holdsTracked (value: unknown, seen: Set<unknown>): boolean {
  if (unwrap(value) !== value) return true
  if (!mayHold(value) || seen.has(value)) return false
  seen.add(value)
  return elementsOf(value).some((element) => holdsTracked(element, seen))
}

/** The copy of an instance is a plain object, which is what becomes of an instance that is cloned. */
function copied (value: unknown, copies: Map<unknown, unknown>): unknown {
  const raw = unwrap(value)
  if (!mayHold(raw) || !holdsTracked(raw, new Set())) return raw
  const known = copies.get(raw)
  if (known !== undefined) return known
  const copy: object = types.isMap(raw) ? new Map() : types.isSet(raw) ? new Set() : Array.isArray(raw) ? [...raw as unknown[]] : { ...raw }
  copies.set(raw, copy)
  if (types.isMap(raw)) for (const [key, element] of Map.prototype.entries.call(raw)) (copy as Map<unknown, unknown>).set(copied(key, copies), copied(element, copies))
  else if (types.isSet(raw)) for (const element of Set.prototype.values.call(raw)) (copy as Set<unknown>).add(copied(element, copies))
  else for (const [key, field] of Object.entries(raw)) Reflect.set(copy, key, copied(field, copies))
  return copy
}
