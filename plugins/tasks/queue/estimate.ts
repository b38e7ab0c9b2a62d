/** Estimates when a place comes free, for the Retry-After of a refusal. Pure: the time is an argument. */

/** What runs, as far as the estimate needs it. */
export interface Running {
  readonly startedAt: number
  readonly dueAt: number
}

export interface Held {
  running: Iterable<Running>
  /** How many tasks wait for a slot. */
  queued: number
  /** When the delay or the backoff of the next task that has no slot is over; Infinity if there is none. */
  nextDueAt: number
  concurrency: number
  /** How long a task runs, on average, in ms; undefined until one has ended. */
  meanRunMs: number | undefined
}

/** The longest Retry-After in seconds that what runs is asked for: past it nobody can tell. */
const MAX_SECONDS = 300

/**
 * Returns the whole seconds, at least 1, until the first task that runs ends and what waits for a slot has started; if nothing runs,
 * until the first delay is over. A task is taken to run as long as others did, or until its deadline if none has ended yet; one that has
 * outlasted the others, as long again as it has run.
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

function wholeSeconds (ms: number): number {
  return Math.max(Math.ceil(ms / 1_000), 1)
}
