/** Validates options: each check throws FC_ERR_OPTION_INVALID, with the option, what was expected and what came. */
import { inspect } from 'node:util'
import { OptionInvalidError } from './errors.ts'

/** Checks a rule that no check below states. */
export function ensure (holds: boolean, option: string, expected: string, received: unknown): asserts holds {
  if (!holds) throw new OptionInvalidError(option, expected, shown(received))
}

function shown (received: unknown): string {
  try {
    return inspect(received, { depth: 0, breakLength: Infinity }).slice(0, 200)
  } catch { // The value's own inspection function or getter throws.
    return `a value of type ${typeof received}`
  }
}

/** Checks a whole number of at least `min`. */
export function integer (option: string, value: unknown, { min }: { min: number }): number {
  ensure(Number.isInteger(value) && value as number >= min, option, `a whole number of at least ${min}`, value)
  return value as number
}

export function boolean (option: string, value: unknown): boolean {
  ensure(typeof value === 'boolean', option, 'true or false', value)
  return value
}

/** Checks a string with at least one character. */
export function text (option: string, value: unknown): string {
  ensure(typeof value === 'string' && value !== '', option, 'a string that is not empty', value)
  return value
}

export function fn<T extends (...args: never[]) => unknown> (option: string, value: unknown): T {
  ensure(typeof value === 'function', option, 'a function', value)
  return value as T
}

export function array (option: string, value: unknown): readonly unknown[] {
  ensure(Array.isArray(value), option, 'an array', value)
  return value
}

/** Checks an object, whose keys are all in `known` if that is given: a misspelt option is refused, not ignored. */
export function record (option: string, value: unknown, known?: readonly string[]): Record<string, unknown> {
  ensure(typeof value === 'object' && value !== null && !Array.isArray(value), option, 'an object', value)
  if (known === undefined) return value as Record<string, unknown>
  for (const [key, given] of entriesOf(option, value)) {
    ensure(known.includes(key), `${option}.${key}`, `one of the options ${known.join(', ')}`, given)
    // Otherwise a `timeout: null` that means "none" would become the default.
    ensure(given !== null, `${option}.${key}`, 'a value, or the option left out for its default', given)
  }
  return value as Record<string, unknown>
}

/** Reads the options of an object, whose getters or proxy traps may throw. */
function entriesOf (option: string, value: object): Array<[string, unknown]> {
  try {
    return Object.entries(value)
  } catch (error) {
    return ensure(false, option, 'an object whose options can be read', error) as never
  }
}
