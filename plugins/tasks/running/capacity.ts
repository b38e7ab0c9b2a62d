/**
 * Capacity bounds how many tasks are held at once, and shares the bound fairly between keys.
 *
 * An accepted task is never evicted, so fairness is decided at the entrance, by a dynamic threshold (Choudhury and
 * Hahne, 1998): a key may hold no more waiting tasks than there are places free, idle slots included. So one key alone
 * fills half of the queue, two keys two thirds, and a key that comes later finds a place. A constant share for each key
 * would waste the queue of a service that has one key.
 */
import { wholeSeconds } from '../../shared/coded-error.ts'

type State = 'waiting' | 'running' | 'returned'

/** Permit is the right to hold one task. Its owner gives it back by disposing of it, once or more often. */
export class Permit implements Disposable {
  readonly key: string
  readonly #moved: (key: string, from: State, to: State) => void
  #state: State = 'waiting'

  constructor (key: string, moved: (key: string, from: State, to: State) => void) {
    this.key = key
    this.#moved = moved
  }

  /** The task runs, and takes no place of the queue. */
  run (): void { this.#move('running') }

  /** The task waits again, for a retry. */
  wait (): void { this.#move('waiting') }

  [Symbol.dispose] (): void { this.#move('returned') }

  #move (to: State): void {
    const from = this.#state
    if (from === to || from === 'returned') return
    this.#state = to
    this.#moved(this.key, from, to)
  }
}

export interface CapacityOptions {
  /** How many tasks run at once. */
  concurrency: number
  /** How many more tasks may be held. */
  maxQueue: number
}

export class Capacity {
  readonly #concurrency: number
  /** How many permits there are. */
  readonly total: number
  /** The number of permits whose tasks wait, by key. */
  readonly #waiting = new Map<string, number>()
  #running = 0
  #held = 0

  constructor ({ concurrency, maxQueue }: CapacityOptions) {
    this.#concurrency = concurrency
    this.total = concurrency + maxQueue
  }

  /** How many permits are held. */
  get held (): number { return this.#held }

  /** Returns how many permits of a key wait, and how many may. */
  shareOf (key: string): { waiting: number, limit: number } {
    return { waiting: this.#waiting.get(key) ?? 0, limit: this.total - this.#held + this.#concurrency - this.#running }
  }

  /** Returns a permit, or undefined if there is none for this key. */
  take (key: string): Permit | undefined {
    const { waiting, limit } = this.shareOf(key)
    if (this.#held === this.total || waiting >= limit) return undefined
    this.#held++
    this.#count(key, 1)
    return new Permit(key, this.#moved)
  }

  readonly #moved = (key: string, from: State, to: State): void => {
    if (from === 'waiting') this.#count(key, -1)
    else this.#running--
    if (to === 'waiting') this.#count(key, 1)
    else if (to === 'running') this.#running++
    else this.#held--
  }

  #count (key: string, by: number): void {
    const count = (this.#waiting.get(key) ?? 0) + by
    if (count === 0) this.#waiting.delete(key)
    else this.#waiting.set(key, count)
  }
}

/** What is held, for secondsUntilFree(). */
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
