/** Values that may be asynchronous, without a promise where they aren't: a promise costs more than all else a limiter does for a request. */
export type MaybePromise<T> = T | Promise<T>

export function after<T, Result> (value: MaybePromise<T>, next: (value: T) => MaybePromise<Result>): MaybePromise<Result> {
  return value instanceof Promise ? value.then(next) : next(value)
}
