/**
 * Copies payloads as JSON would. A durable engine stores JSON. So what JSON would drop, change or refuse is refused
 * here, on every engine: a Date that would arrive as a string is found when the call is written, not after a move to
 * Redis.
 *
 * One pass checks and copies. JSON.parse(JSON.stringify(payload)) after a check held the event loop for 0.4 s with a
 * body of 1 MB.
 */

/** The deepest nesting that is accepted: deeper than any payload, and well within the recursion of JSON.stringify. */
const MAX_DEPTH = 500

/**
 * How many values a payload may hold, so that copying it is bounded. A few objects that are shared in memory may be
 * written out millions of times: thirty arrays of which each holds the next one twice would be a thousand million
 * values. A body of 1 MB holds half a million.
 */
const MAX_VALUES = 2 ** 21

/** The payload can't be stored. The message says which part of it, and why. */
export class UnstorableError extends Error {}

/**
 * Returns a copy of the payload that later changes of the payload don't reach. A property that is `undefined` is absent
 * from the copy.
 *
 * @throws UnstorableError if JSON would not give back the payload as it is, and whatever a getter of the payload throws
 */
export function copyAsJson (payload: unknown): unknown {
  // The objects around the value that is copied, outermost first, and the key that leads on from each: for the message
  // of an error only.
  const around: object[] = []
  const keys: Array<string | number> = []
  let values = 0

  const refuse = (reason: string): never => { throw new UnstorableError(`can't be stored: ${reason}`) }
  const path = (depth: number): string => `payload${keys.slice(0, depth).map(pathStep).join('')}`

  function copy (value: unknown, depth: number): unknown {
    if (++values > MAX_VALUES) refuse(`it holds more than ${MAX_VALUES} values`)
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
    // JSON has no negative zero.
    if (typeof value === 'number') return Number.isFinite(value) ? value + 0 : refuse(`${path(depth)} is ${value}`)
    if (typeof value !== 'object') {
      return refuse(
      `${path(depth)} is ${value === undefined ? 'undefined' : `a ${typeof value}`}`)
    }
    // A cycle is looked for only here, since it is always too deep.
    if (depth === MAX_DEPTH) refuse(cycle(value, depth) ?? `it is nested more than ${MAX_DEPTH} deep`)
    if (!isPlain(value)) refuse(`${path(depth)} is ${describe(value)}, not a plain object or array`)
    around[depth] = value
    return Array.isArray(value) ? copyArray(value, depth) : copyObject(value as Record<string, unknown>, depth)
  }

  function copyArray (array: readonly unknown[], depth: number): unknown[] {
    const copied: unknown[] = []
    // By index: a hole is undefined, and would arrive as null.
    for (let index = 0; index < array.length; index++) {
      keys[depth] = index
      copied.push(copy(array[index], depth + 1))
    }
    return copied
  }

  function copyObject (object: Record<string, unknown>, depth: number): Record<string, unknown> {
    const copied: Record<string, unknown> = {}
    for (const key of Object.keys(object)) {
      keys[depth] = key
      const value = object[key]
      if (value === undefined) continue
      const property = copy(value, depth + 1)
      // An assignment would set the prototype, where JSON.parse makes a property.
      if (key === '__proto__') {
        Object.defineProperty(copied, key,
          { value: property, configurable: true, enumerable: true, writable: true })
      } else copied[key] = property
    }
    return copied
  }

  /** Returns where an object that contains itself is met for the second time. */
  function cycle (value: object, depth: number): string | undefined {
    const all = [...around.slice(0, depth), value]
    const again = all.findIndex((each, index) => all.indexOf(each) < index)
    return again === -1 ? undefined : `${path(again)} contains itself`
  }

  return payload === undefined ? undefined : copy(payload, 0)
}

function pathStep (key: string | number): string {
  if (typeof key === 'number') return `[${key}]`
  return /^[\p{ID_Start}_$][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

function isPlain (value: object): boolean {
  if ('toJSON' in value && typeof value.toJSON === 'function') return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || Array.isArray(value) || prototype === null ||
    Object.getPrototypeOf(prototype) === null
}

function describe (value: object): string {
  const name = (value.constructor as { name?: unknown } | undefined)?.name
  return typeof name === 'string' && name !== '' && name !== 'Object' ? `a ${name}` : 'an object with toJSON()'
}
