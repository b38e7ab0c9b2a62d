/** The application's functions, called so that nothing that they throw or give lets a request pass unjudged. */
import { types } from 'node:util'
import { LimitInvalidError } from '../shared/errors.ts'
import { isPromise, type MaybePromise } from './maybe.ts'

/**
 * Returns `fn`, but that whatever it throws or rejects with is an Error. Callbacks such as a hook's `done` take a falsy error for success,
 * so a function that throws `undefined`, 0 or '' would let its request pass.
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

/** Returns what was thrown if it is an Error, also one of another realm; otherwise FC_ERR_LIMIT_INVALID with what was thrown as its cause. */
export function asError (thrown: unknown, limit = '*', what = 'function'): Error {
  if (thrown instanceof Error || types.isNativeError(thrown)) return thrown
  return new LimitInvalidError(limit, what, 'a function that throws Errors', `one that threw ${brief(thrown)}`, { cause: thrown })
}

/** Describes a value in a few characters. It may be a whole body: `inspect` would write out each of its 100,000 properties. */
export function brief (value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value)
  if (typeof value === 'bigint') return value > -1e30 && value < 1e30 ? `${value}n` : 'a huge bigint'
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
