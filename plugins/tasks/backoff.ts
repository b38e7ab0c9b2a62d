/**
 * When to try again: exponential backoff with full jitter, after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
 * Full jitter rather than equal: after an outage it spreads the retries of many tasks the widest, for the same mean delay.
 */
import { read } from './thrown.ts'

export interface Backoff {
  /** Mean delay before the first retry is half of this, in ms. */
  base: number
  /** No delay is longer, in ms, unless the error says so. */
  max: number
}

/** An hour: what asks for longer isn't worth holding a place for. */
export const MAX_RETRY_AFTER = 3_600_000

/**
 * Milliseconds to wait after attempt number `attempt` (1, 2, …) has failed; `undefined`: not worth it.
 * `random` is from [0, 1).
 */
export function retryDelay (attempt: number, error: unknown, { base, max }: Backoff, random: number): number | undefined {
  const asked = retryAfterOf(error)
  if (asked > MAX_RETRY_AFTER) return undefined
  // 2 ** 1023 is finite, 2 ** 1024 isn't; and Infinity * 0 would be NaN.
  const ceiling = Math.min(max, base * 2 ** Math.min(attempt - 1, 1023))
  return Math.max(asked, ceiling * random)
}

/** `error.retryAfter`, in seconds as in HTTP and in our own errors, as ms; 0 if there is none. */
function retryAfterOf (error: unknown): number {
  const seconds = typeof error === 'object' && error !== null ? read(error, 'retryAfter') : 0
  return typeof seconds === 'number' && seconds > 0 ? seconds * 1_000 : 0
}
