/**
 * Whether a payload survives JSON as it is. A durable engine stores JSON, so what JSON would drop, bend or refuse is refused
 * here, on every engine: a Date that arrives as a string is found when the call is written, not after a move to Redis.
 */

/** Deeper than any payload, and well within what JSON.stringify's recursion takes. */
const MAX_DEPTH = 500

/**
 * How large the payload may become, in characters, roughly. What is a few shared objects in memory may be written out millions of times:
 * thirty arrays of which each holds the next one twice would be a thousand million values.
 */
const MAX_SIZE = 2 ** 26

/** The objects that were passed, and the size of each. */
class Passed extends Map<object, number> {
  total = 0
}

/** `undefined` if it does; else which part doesn't and why. An `undefined` property is fine: it is absent on the other side. */
export function whyNotSerialisable (payload: unknown): string | undefined {
  return payload === undefined ? undefined : check(payload, 'payload', new Set(), new Passed())
}

function check (value: unknown, path: string, above: Set<object>, passed: Passed): string | undefined {
  passed.total += typeof value === 'string' ? value.length + 2 : 2
  if (passed.total > MAX_SIZE) return `can't be stored: as JSON it is larger than ${MAX_SIZE} characters`
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return undefined
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : `can't be stored: ${path} is ${value}`
  if (typeof value !== 'object') return `can't be stored: ${path} is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}`
  if (above.has(value)) return `can't be stored: ${path} contains itself`
  const size = passed.get(value)
  if (size !== undefined) {
    passed.total += size
    return undefined
  }
  if (above.size === MAX_DEPTH) return `can't be stored: it is nested more than ${MAX_DEPTH} deep`
  if (!isPlain(value)) return `can't be stored: ${path} is ${describe(value)}, not a plain object or array`
  const before = passed.total
  above.add(value)
  const bad = Array.isArray(value) ? checkArray(value, path, above, passed) : checkObject(value as Record<string, unknown>, path, above, passed)
  above.delete(value)
  passed.set(value, passed.total - before)
  return bad
}

function checkArray (array: unknown[], path: string, above: Set<object>, passed: Passed): string | undefined {
  // By index: a hole is undefined, and would arrive as null.
  for (let i = 0; i < array.length; i++) {
    const bad = check(array[i], `${path}[${i}]`, above, passed)
    if (bad !== undefined) return bad
  }
}

function checkObject (object: Record<string, unknown>, path: string, above: Set<object>, passed: Passed): string | undefined {
  for (const [key, value] of Object.entries(object)) {
    if (value === undefined) continue
    passed.total += key.length
    const bad = check(value, /^[\p{ID_Start}_$][\p{ID_Continue}$]*$/u.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`, above, passed)
    if (bad !== undefined) return bad
  }
}

function isPlain (value: object): boolean {
  if ('toJSON' in value && typeof value.toJSON === 'function') return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return Array.isArray(value) || prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

function describe (value: object): string {
  const name = (value.constructor as { name?: unknown } | undefined)?.name
  return typeof name === 'string' && name !== '' && name !== 'Object' ? `a ${name}` : 'an object with toJSON()'
}
