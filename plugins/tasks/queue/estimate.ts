/** Estimates when a place comes free, for the Retry-After of a refusal. Pure: the time is an argument. */
import { wholeSeconds } from '../../shared/coded-error.ts'

export interface Held {
  running: Iterable<{ readonly startedAt: number, readonly dueAt: number }>
  /** How many tasks wait for a slot. */
  queued: number
  /** When the delay or the backoff of the next task that has no slot is over; Infinity if there is none. */
  nextDueAt: number
  concurrency: number
  /** The mean run time, in ms; undefined until a task has ended. */
  meanRunMs: number | undefined
}

/** The longest Retry-After, in seconds, that running tasks can cause. A longer estimate would be a guess. */
const MAX_SECONDS = 300

/**
 * Returns the whole seconds, at least 1, until the first running task ends and the tasks that wait for a slot have
 * started. If no task runs, it is the time until the first delay is over. The estimate for a running task is the mean
 * run time, or its deadline if no task has ended yet. A task that has run longer than the mean is expected to take as
 * long again.
 */
export function secondsUntilFree ({ running, queued, nextDueAt, concurrency, meanRunMs }: Held, now: number): number {
  let first = Infinity
  for (const { startedAt, dueAt } of running) {
    const age = now - startedAt
    const typical = meanRunMs ?? (dueAt === Infinity ? 0 : dueAt - startedAt)
    first = Math.min(first, typical > age ? typical - age : age, dueAt - now)
  }
  if (first === Infinity && nextDueAt !== Infinity) return wholeSeconds(nextDueAt - now)
  const behind = queued * (meanRunMs ?? 0) / concurrency
  return Math.min(wholeSeconds((first === Infinity ? 0 : first) + behind), MAX_SECONDS)
}
