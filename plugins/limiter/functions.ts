/**
 * Calls of the application's functions. The functions may be asynchronous, and whatever they throw or return, no request passes unchecked.
 *
 * Where a value isn't asynchronous, the limiter makes no promise, because a promise costs more than the rest of a decision.
 */
import { types } from 'node:util'
import { describe } from '../shared/describe.ts'
import { LimitInvalidError } from '../shared/errors.ts'

export type MaybePromise<T> = T | Promise<T>

/**
 * Reports whether `await` would wait for the value, which depends only on the value's method `then`. A query builder is no Promise, and may
 * be a function: without this check, a query builder would count as `true`.
 */
export function isPromise<T> (value: MaybePromise<T>): value is Promise<T> {
  return ((typeof value === 'object' && value !== null) || typeof value === 'function') && typeof (value as { then?: unknown }).then === 'function'
}

/** Calls `next` with the value: at once, or when the promise of the value resolves. */
export function after<T, Result> (value: MaybePromise<T>, next: (value: T) => MaybePromise<Result>): MaybePromise<Result> {
  return isPromise(value) ? Promise.resolve(value).then(next) : next(value)
}

/**
 * Returns a function that does what `fn` does, except that whatever it throws or rejects with is an Error. A hook's `done` takes a falsy
 * error for success, so a function that throws `undefined`, 0 or '' would otherwise let its request pass.
 *
 * @param limit the policy whose function it is; '*' for all of them
 * @param what the function's option
 */
export function guarded<Arguments extends readonly unknown[], Result> (
  limit: string, what: string, fn: (...args: Arguments) => MaybePromise<Result>
): (...args: Arguments) => MaybePromise<Result> {
  const fail = (thrown: unknown): never => { throw asError(thrown, limit, what) }
  return (...args) => {
    try {
      const value = fn(...args)
      return isPromise(value) ? Promise.resolve(value).catch(fail) : value
    } catch (error) {
      return fail(error)
    }
  }
}

/** Returns the thrown value if it is an Error, of any realm. Otherwise returns FC_ERR_LIMIT_INVALID with the thrown value as its cause. */
export function asError (thrown: unknown, limit = '*', what = 'function'): Error {
  if (thrown instanceof Error || types.isNativeError(thrown)) return thrown
  const received = `one that threw ${describe(thrown)}`
  return new LimitInvalidError(limit, what, 'a function that throws Errors', received, { cause: thrown })
}
