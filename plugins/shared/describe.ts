/**
 * Describes values that an application or a client has passed, for the messages of errors. Describing never throws and
 * never takes long, whatever the value is: a revoked Proxy, an object whose methods throw, a whole request body.
 * Otherwise the message would be lost.
 */
import { inspect } from 'node:util'

const LONGEST = 200
/** BigInts of more digits take long to write out. */
const LARGEST = 10n ** 30n
/** Matches a connection string, which may hold a password, also if it is mistyped. */
const MAY_HOLD_PASSWORD = /:\/|@/

export function describe (value: unknown): string {
  if (typeof value === 'string') {
    if (MAY_HOLD_PASSWORD.test(value)) return describeHidden(value)
    return inspect(value.slice(0, LONGEST), { breakLength: Infinity })
  }
  if (typeof value === 'bigint' && (value > LARGEST || value < -LARGEST)) return 'a huge bigint'
  try {
    // The contents of an object may be the credentials of a client that was to be constructed.
    return inspect(value, { depth: -1, breakLength: Infinity }).slice(0, LONGEST)
  } catch { // The value's own inspection function or getter throws.
    return `a value of type ${typeof value}`
  }
}

/** Describes a value whose meaning nobody knows: it may be a password under a misspelt name. */
export function describeHidden (value: unknown): string {
  return typeof value === 'string' ? `a string of ${value.length} characters` : describe(value)
}

/** Returns a name for a message: what callers pass as a name may be anything. */
export function nameOf (value: unknown): string {
  return typeof value === 'string' ? value.slice(0, LONGEST) : describe(value)
}
