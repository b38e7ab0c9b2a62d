/**
 * Decides whether a task that has failed is tried again, and when: exponential backoff with full jitter, after
 * "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). Full jitter spreads the retries of many tasks after
 * an outage wider than equal jitter does, for the same mean delay.
 */
import { types } from 'node:util'
import { OptionInvalidError } from '../../shared/errors.ts'
import { MAX_DURATION } from '../../shared/options.ts'
import { RETRY_IF, type Backoff } from '../task-options.ts'
import { read } from '../thrown.ts'

/**
 * The longest delay, in ms, that an error may ask for. A task that is to wait longer is tried after that time: it
 * occupies its place meanwhile.
 */
export const MAX_RETRY_AFTER = 3_600_000

/**
 * The outcome of an attempt of a stored task that is to be tried again: the engine stores the retry. `cause` is the
 * attempt's error.
 */
export class StoredRetry extends Error {
  readonly delay: number

  constructor (delay: number, cause: Error) {
    super('The task is tried again', { cause })
    this.delay = delay
  }
}

/**
 * Returns the ms to wait after attempt number `attempt` (1, 2, …) has failed; undefined if the task is not to be tried
 * again.
 *
 * @param random from [0, 1)
 */
export function retryDelay (attempt: number, error: unknown, { base, max }: Backoff,
  random: number): number | undefined {
  const asked = retryAfterOf(error)
  // Longer than any timer: never.
  if (asked > MAX_DURATION) return undefined
  // 2 ** 1023 is finite, 2 ** 1024 isn't; and Infinity * 0 would be NaN.
  const ceiling = Math.min(max, base * 2 ** Math.min(attempt - 1, 1023))
  return Math.max(Math.min(asked, MAX_RETRY_AFTER), ceiling * random)
}

/** Returns `error.retryAfter`, which is in seconds as in HTTP and in our own errors, as ms; 0 if there is none. */
function retryAfterOf (error: unknown): number {
  const seconds = typeof error === 'object' && error !== null ? read(error, 'retryAfter') : 0
  return typeof seconds === 'number' && seconds > 0 ? seconds * 1_000 : 0
}

/**
 * Tells whether the application wants another attempt. A retryIf that fails says no.
 *
 * @param onFailure gets the error of a retryIf that has thrown or returned a promise
 */
export function wantsRetry (retryIf: (error: Error, attempt: number) => unknown, error: Error, attempt: number,
  onFailure: (thrown: unknown) => void): boolean {
  try {
    const answer = retryIf(error, attempt)
    if ((typeof answer !== 'object' && typeof answer !== 'function') || answer === null) return Boolean(answer)
    onFailure(new OptionInvalidError('retryIf', RETRY_IF, types.isPromise(answer) ? 'a promise' : `a ${typeof answer}`))
    if (types.isPromise(answer)) void Promise.prototype.then.call(answer, undefined, onFailure)
  } catch (thrown) {
    onFailure(thrown)
  }
  return false
}
