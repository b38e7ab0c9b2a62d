/**
 * Copies what a job logs or throws, up to a bound.
 *
 * Loggers on the main thread write such values as JSON, which repeats a shared part wherever it occurs. A message of a few hundred bytes can
 * share its parts so often that its JSON never ends. So the copy is made on the job's own thread, and a shared part counts each time.
 */
import { types } from 'node:util'

/** What may still be copied: parts are elements, fields and entries. */
export interface Budget {
  parts: number
  characters: number
}

/** JSON of so much takes the main thread about a millisecond. A thousand lines may wait there: 64 MB. */
export const lineBudget = (): Budget => ({ parts: 2_000, characters: 65_536 })

/** An error is thrown once a job, and its fields are for the application. */
export const errorBudget = (): Budget => ({ parts: 20_000, characters: 1_048_576 })

/** The main thread can read 1,800 levels of objects with the stack that Node gives it. */
const MAX_DEPTH = 500

/**
 * Returns a copy that structured clone takes, or `otherwise` if the value is larger or deeper than the budget allows, or if a getter throws.
 * Functions and symbols become undefined; `toJSON()` is called as JSON would call it. Only a copy that was made uses the budget up.
 */
export function boundedCopy (value: unknown, budget: Budget, otherwise?: string): unknown {
  const left = { ...budget }
  try {
    const made = copy(value, left, new Set())
    Object.assign(budget, left)
    return made
  } catch {
    return otherwise
  }
}

function copy (value: unknown, budget: Budget, parents: Set<object>): unknown {
  if (--budget.parts < 0 || parents.size > MAX_DEPTH) throw new RangeError('Too large or too deep')
  if (typeof value === 'string') return counted(value, budget)
  if (typeof value === 'function' || typeof value === 'symbol') return undefined
  if (typeof value !== 'object' || value === null) return value
  // First: whatever else is asked of a Proxy runs its traps.
  if (types.isProxy(value)) throw new TypeError('A Proxy')
  if (parents.has(value)) return '[Circular]'
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    budget.parts -= (ArrayBuffer.isView(value) ? value.buffer : value).byteLength
    if (budget.parts < 0) throw new RangeError('Too large')
    return structuredClone(value)
  }
  if (types.isDate(value) || types.isRegExp(value) || types.isBoxedPrimitive(value)) return structuredClone(value)
  parents.add(value)
  const copied = copyObject(value, budget, (part) => copy(part, budget, parents))
  parents.delete(value)
  return copied
}

function copyObject (value: object, budget: Budget, copy: (part: unknown) => unknown): unknown {
  if (types.isNativeError(value)) return Object.assign(new Error(String(copy(value.message))), { stack: copy(value.stack) })
  if ('toJSON' in value && typeof value.toJSON === 'function') return copy(value.toJSON())
  if (types.isMap(value)) return new Map(Array.from(value, ([key, part]) => [copy(key), copy(part)]))
  if (types.isSet(value)) return new Set(Array.from(value, copy))
  if (Array.isArray(value)) return elements(value, copy)
  const fields: Record<string, unknown> = {}
  for (const key in value) if (Object.hasOwn(value, key)) define(fields, counted(key, budget), copy((value as Record<string, unknown>)[key]))
  return fields
}

function counted (text: string, budget: Budget): string {
  budget.characters -= text.length
  if (budget.characters < 0) throw new RangeError('Too large')
  return text
}

/** One by one: a sparse array may be billions long. */
function elements (array: readonly unknown[], copy: (part: unknown) => unknown): unknown[] {
  const copied: unknown[] = []
  for (let index = 0; index < array.length; index++) copied.push(copy(array[index]))
  return copied
}

/** An assignment to `__proto__` would change the prototype. */
function define (fields: Record<string, unknown>, key: string, value: unknown): void {
  if (value !== undefined) Object.defineProperty(fields, key, { value, writable: true, enumerable: true, configurable: true })
}
