// Validates options. Each check throws FC_ERR_OPTION_INVALID at boot, with the option, what was expected and what came:
// an invalid option that silently becomes a default would be a surprise in production.
import { inspect } from 'node:util'
import { describe, describeHidden } from './describe.ts'
import { OptionInvalidError } from './errors.ts'

/** @throws FC_ERR_OPTION_INVALID */
export function invalid (option: string, expected: string, received: unknown, show = describe): never {
  throw new OptionInvalidError(option, expected, show(received))
}

interface Range {
  /** Inclusive. */
  min?: number
  /** Inclusive. */
  max?: number
}

function within ({ min, max }: Range): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`
  if (min !== undefined) return ` of at least ${min}`
  return max === undefined ? '' : ` of at most ${max}`
}

function isInRange (value: number, { min = -Infinity, max = Infinity }: Range): boolean {
  return value >= min && value <= max
}

/** Checks a whole number. */
export function integer (option: string, value: unknown, range: Range = {}): number {
  if (Number.isInteger(value) && isInRange(value as number, range)) return value as number
  return invalid(option, `a whole number${within(range)}`, value)
}

/** Checks a number. `Infinity` is allowed only if the range has no `max`. */
export function number (option: string, value: unknown, range: Range = {}): number {
  if (typeof value === 'number' && !Number.isNaN(value) && isInRange(value, range)) return value
  return invalid(option, `a number${within(range)}`, value)
}

/** The longest delay of a Node timer, in ms. With a longer delay, setTimeout fires at once. */
export const MAX_DURATION = 2 ** 31 - 1

/** Checks a duration in milliseconds that a timer can hold. `Infinity` is allowed only if the range has no `max`. */
export function duration (option: string, value: unknown, range: Range = { min: 0 }): number {
  if (value === Infinity && range.max === undefined) return Infinity
  if (typeof value === 'number' && isInRange(value, { max: MAX_DURATION, ...range })) return value
  return invalid(option,
    `milliseconds${within({ max: MAX_DURATION, ...range })}${range.max === undefined ? ', or Infinity' : ''}`, value)
}

export function boolean (option: string, value: unknown): boolean {
  return typeof value === 'boolean' ? value : invalid(option, 'true or false', value)
}

/** Checks a string with at least one character. */
export function text (option: string, value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : invalid(option, 'a string that is not empty', value)
}

export function oneOf<const T extends readonly unknown[]> (option: string, value: unknown, allowed: T): T[number] {
  return allowed.includes(value)
    ? value
    : invalid(option, `one of ${allowed.map((choice) => inspect(choice)).join(', ')}`, value)
}

export function fn<T extends (...args: never[]) => unknown> (option: string, value: unknown): T {
  return typeof value === 'function' ? value as T : invalid(option, 'a function', value)
}

export function array (option: string, value: unknown): readonly unknown[] {
  return isArray(value) ? value : invalid(option, 'an array', value)
}

/** Tells whether a value is an array. Array.isArray() throws for a Proxy that was revoked. */
function isArray (value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

/** Checks an AbortSignal. A Proxy, or an object made of its prototype, may fail only when it is read. */
export function abortSignal (option: string, value: unknown): AbortSignal {
  try {
    if (value instanceof AbortSignal && typeof value.aborted === 'boolean') return value
  } catch {}
  return invalid(option, 'an AbortSignal', value)
}

/**
 * Checks an object whose keys are all in `known`: a misspelt option is refused, not ignored.
 * @param instead what to use in place of options of other packages, which users look for here
 */
export function record (option: string, value: unknown, known?: readonly string[], instead: ReadonlyMap<string,
  string> = new Map()): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || isArray(value)) return invalid(option, 'an object', value)
  if (known === undefined) return value as Record<string, unknown>
  for (const [key, given] of entriesOf(option, value, known)) {
    if (!known.includes(key)) {
      const other = instead.get(key)
      invalid(`${option}.${key}`, other === undefined
        ? `one of the options ${known.join(', ')}`
        : `in its place ${other}`, given, describeHidden)
    }
    // Otherwise a `timeout: null` that means "none" would become the default.
    if (given === null) invalid(`${option}.${key}`, 'a value, or the option left out for its default', given)
  }
  return value as Record<string, unknown>
}

/** Reads the options of an object, whose getters or proxy traps may throw: also those that aren't among its keys. */
function entriesOf (option: string, value: object, known: readonly string[]): Array<[string, unknown]> {
  try {
    for (const key of known) Reflect.get(value, key)
    return Object.entries(value)
  } catch (error) {
    return invalid(option, 'an object whose options can be read', error)
  }
}

/**
 * Tells whether a value is a path that Fastify's router takes literally: without parameters, wildcards and characters
 * that clients would have to encode, and without segments that clients remove (`..`).
 */
export function isPath (value: unknown): value is string {
  return typeof value === 'string' && /^(?=\/)(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]+)*\/?$/.test(value)
}

/** Checks a rule that no check above states. */
export function ensure (holds: boolean, option: string, expected: string, received: unknown): asserts holds {
  if (!holds) invalid(option, expected, received)
}
