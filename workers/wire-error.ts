/**
 * Carries errors across the thread boundary, both ways. Structured clone keeps message, stack and cause, but loses
 * custom names, codes, status codes, own fields and the errors of an AggregateError, and a field that can't be cloned
 * would lose the whole error.
 */
import { boundedClone, errorBudget, type Budget } from './bounded-copy.ts'

/** A thrown value as structured clone can carry it. */
export interface WireError {
  /** False: `value` was thrown and is no Error. */
  readonly isError: boolean
  readonly name: string
  readonly message: string
  readonly stack?: string
  /** Own cloneable fields: code, statusCode and whatever else. */
  readonly fields: Record<string, unknown>
  readonly cause?: WireError
  readonly errors?: readonly WireError[]
  /** The thrown non-error, if it can be cloned. */
  readonly value?: unknown
  /** A DOMException, whose code is an accessor and not a field. */
  readonly domException: boolean
}

/**
 * The depth of causes, and the number of errors in all, that are carried. An error may be its own cause, or hold itself
 * many times.
 */
const MAX_CAUSES_DEEP = 8
const MAX_ERRORS = 100

/**
 * Own fields of one error beyond these are left out: the main thread defines each again, and a client's body may have
 * been assigned to the error.
 */
const MAX_FIELDS = 100

const HANDLED = new Set(['name', 'message', 'stack', 'cause'])

function isErrorLike (value: unknown): value is Error {
  // Errors of @fastify/error without a stack, and of other realms, aren't native errors of this one.
  return value instanceof Error || Object.prototype.toString.call(value) === '[object Error]'
}

/** A getter of a hostile error may throw: then the field is as good as absent. */
function read (source: object, key: string): unknown {
  try {
    return (source as Record<string, unknown>)[key]
  } catch {
    return undefined
  }
}

function text (value: unknown): string {
  try {
    return String(value)
  } catch {
    return Object.prototype.toString.call(value)
  }
}

/**
 * Never throws, whatever was thrown. Fields past the budget are left out, so that the rest arrives; message and stack
 * are cut there.
 * @param budget how much may be copied; log lines have a smaller budget
 */
export function toWire (thrown: unknown, budget: Budget = errorBudget()): WireError {
  try {
    return wireOf(thrown, budget, 0, { left: MAX_ERRORS })
  } catch { // a Proxy whose traps throw
    return { isError: true, name: 'Error', message: 'An error that can\'t be read', fields: {}, domException: false }
  }
}

/** Returns a clone of the value; undefined if the value can't be cloned, or if its JSON is past the budget. */
function carriedValue (value: unknown, budget: Budget): unknown {
  try {
    return boundedClone(value, budget)
  } catch {
    return undefined
  }
}

/** Returns the value as text, cut to what is left of the budget. */
function carriedText (value: unknown, budget: Budget): string {
  const whole = text(value)
  const kept = whole.slice(0, Math.max(0, budget.characters))
  budget.characters -= kept.length
  return kept
}

function wireOf (thrown: unknown, budget: Budget, depth: number, count: { left: number }): WireError {
  count.left--
  if (!isErrorLike(thrown)) {
    return {
      isError: false,
      name: 'Error',
      message: describe(thrown),
      fields: {},
      domException: false,
      value: carriedValue(thrown, budget)
    }
  }
  const nested = depth < MAX_CAUSES_DEEP && count.left > 0
  const errors = read(thrown, 'errors')
  const fields: Record<string, unknown> = {}
  // `code` and `statusCode` may be accessors or fields of the prototype: `get statusCode () { return 404 }`.
  for (const key of ['code', 'statusCode', ...Object.keys(thrown).slice(0, MAX_FIELDS)]) {
    if (HANDLED.has(key) || (key === 'errors' && Array.isArray(errors))) continue
    const value = carriedValue(read(thrown, key), budget)
    if (value !== undefined) fields[key] = value
  }
  const stack = read(thrown, 'stack')
  const cause = 'cause' in thrown && nested ? wireOf(read(thrown, 'cause'), budget, depth + 1, count) : undefined
  return {
    isError: true,
    name: carriedText(read(thrown, 'name'), budget),
    message: carriedText(read(thrown, 'message'), budget),
    fields,
    domException: typeof DOMException === 'function' && thrown instanceof DOMException,
    ...(typeof stack === 'string' && { stack: carriedText(stack, budget) }),
    ...(cause !== undefined && { cause }),
    ...(Array.isArray(errors) && nested && {
      errors: errors.slice(0, Math.max(0, count.left)).map((error) => wireOf(error, budget, depth + 1, count))
    })
  }
}

/** Says in a few words what a thrown value is that is no error. */
export function describe (value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 100))
  if (typeof value === 'object') return 'an object'
  return typeof value === 'function' ? 'a function' : text(value)
}

const NATIVE = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError } as const

/** Returns the error again, or the value that was thrown. */
export function fromWire (wire: WireError): unknown {
  if (!wire.isError) return wire.value
  const error = revive(wire)
  const define = (key: string, value: unknown): void => {
    Object.defineProperty(error, key, { value, writable: true, configurable: true, enumerable: false })
  }
  if (wire.stack !== undefined) define('stack', wire.stack)
  if (error.name !== wire.name) define('name', wire.name)
  if (wire.cause !== undefined) define('cause', fromWire(wire.cause))
  if (wire.errors !== undefined) define('errors', wire.errors.map(fromWire))
  for (const [key, value] of Object.entries(wire.fields)) {
    if (key === '__proto__' || (wire.domException && key === 'code')) continue
    Object.defineProperty(error, key, { value, writable: true, configurable: true, enumerable: true })
  }
  return error
}

function revive (wire: WireError): Error {
  if (wire.domException) return new DOMException(wire.message, wire.name)
  if (wire.name === 'AggregateError') return new AggregateError([], wire.message)
  const Native = Object.hasOwn(NATIVE, wire.name) ? NATIVE[wire.name as keyof typeof NATIVE] : Error
  return new Native(wire.message)
}
