/** Values that may be asynchronous, without a promise where they aren't: a promise costs more than all else a limiter does for a request. */
export type MaybePromise<T> = T | Promise<T>

/**
 * Whether `await` would wait for the value, which it decides by the value's method `then`. A query builder is no Promise, and may be a
 * function; taken for a value it would pass for `true`.
 */
export function isPromise<T> (value: MaybePromise<T>): value is Promise<T> {
  return ((typeof value === 'object' && value !== null) || typeof value === 'function') && typeof (value as { then?: unknown }).then === 'function'
}

export function after<T, Result> (value: MaybePromise<T>, next: (value: T) => MaybePromise<Result>): MaybePromise<Result> {
  return isPromise(value) ? Promise.resolve(value).then(next) : next(value)
}
