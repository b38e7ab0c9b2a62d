/** Creates the base classes of the suite's errors, which errors.ts lists. */
import { createError as createFastifyError, type FastifyErrorConstructor } from '@fastify/error'

/** The constructor of an error, which takes `Args` and has `Fields` besides those of an Error. */
type ErrorClass<Args extends unknown[],
  Fields extends object> = FastifyErrorConstructor<{ code: string } & Readonly<Fields>, Args>

/**
 * The message of an error: a format with a %s or %d for each argument, or a function. A format goes with errors that
 * have no fields of their own. If the last argument is an object with a `cause`, it is the error's ErrorOptions.
 */
type Message<Args extends unknown[]> = string | ((...args: Args) => string)

/**
 * Creates the base class of an error. Its errors also carry the fields of http-errors, by which frameworks that handle
 * errors themselves know that status and message are meant for the client. NestJS knows Fastify's own errors by the
 * name of their class: it would answer ours with 500.
 *
 * @param fields returns the fields of an error: its arithmetic, for the log
 */
export function createError<Args extends unknown[], Fields extends object = object> (
  code: string, message: Message<Args>, statusCode = 500, fields?: (...args: Args) => Fields, hasStack = true
): ErrorClass<Args, Fields> {
  const format = typeof message === 'string' ? message : code
  const Base = createFastifyError<unknown[]>(code, format, statusCode, Error, hasStack)
  defineGetter(Base.prototype, 'status', (error: Error & { statusCode?: number }) => error.statusCode)
  Object.defineProperty(Base.prototype, 'expose', { value: true, writable: true, configurable: true })
  let Class: object = Base
  if (typeof message === 'function') {
    const textOf = message
    Class = class extends Base {
      constructor (...args: Args) {
        const options = args.at(-1)
        if (typeof options === 'object' && options !== null && 'cause' in options) super(options)
        else super()
        // Not as an argument of super(), which would format the text once more.
        this.message = textOf(...args)
        Object.assign(this, fields?.(...args))
      }
    }
  }
  return Class as ErrorClass<Args, Fields>
}

/**
 * Creates the base class of an error that load, a client or a timer causes, many at once. Its stack would show nothing
 * of the application's code and cost more than the refusal that it reports, so `stack` is the line of the message
 * alone.
 */
export function withoutStack<Args extends unknown[], Fields extends object = object> (
  code: string, message: Message<Args>, statusCode: number, fields?: (...args: Args) => Fields
): ErrorClass<Args, Fields> {
  const Base = createError<Args, Fields>(code, message, statusCode, fields, false)
  defineGetter(Base.prototype, 'stack', ({ name, message }) => `${name}: ${message}`)
  return Base
}

/** Gives all errors of a class a property that is computed when it is read, and that may be set as any other. */
function defineGetter<E extends Error> (prototype: E, property: string, read: (error: E) => unknown): void {
  Object.defineProperty(prototype, property, {
    get (this: E) { return read(this) },
    set (this: E, value: unknown) {
      Object.defineProperty(this, property, { value, writable: true, configurable: true })
    },
    configurable: true
  })
}

const kRefusal = Symbol.for('fastify-concurrency.refusal')

export interface RefusalHeaders {
  /** Read by Fastify's default error handler. */
  readonly headers: Record<string, string>
}

/** The largest integer of a structured field (RFC 9651). */
const LARGEST = 999_999_999_999_999

/** Returns a wait, in ms, as whole seconds for Retry-After: never too early, at most 1 s late, and at least 1. */
export function wholeSeconds (wait: number): number {
  return Math.min(LARGEST, Math.max(1, Math.ceil(wait / 1_000)))
}

/**
 * Creates the base class of a refusal. A refusal with a field `retryAfter` has the Retry-After header.
 *
 * @param headers the further headers of the answer
 */
export function createRefusal<Args extends unknown[], Fields extends object = object> (
  code: string, message: Message<Args>, statusCode: number, fields?: (...args: Args) => Fields, headers: Record<string,
    string> = {}
): ErrorClass<Args, Fields & RefusalHeaders> {
  const Base = withoutStack<Args,
    Fields & RefusalHeaders>(code, message, statusCode,
    fields as ((...args: Args) => Fields & RefusalHeaders) | undefined)
  Object.defineProperty(Base.prototype, kRefusal, { value: true })
  defineGetter(Base.prototype, 'headers', ({ retryAfter }: Error & { retryAfter?: number }) =>
    retryAfter === undefined ? headers : Object.assign({ 'retry-after': String(retryAfter) }, headers))
  return Base
}

/**
 * Tells whether the service refused work as designed: such an error is sampled in the log, and never logged as an error
 * with a stack.
 */
export function isRefusal (error: unknown): boolean {
  return error instanceof Error && kRefusal in error
}
