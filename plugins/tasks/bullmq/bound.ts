/**
 * Bound refuses tasks when a queue in Redis holds too many. It is approximate, so that it costs no round trip: it adds what this process has enqueued
 * to the latest count of Redis. A count that is older than `STALE` refuses nothing: tasks may have ended since.
 */
import type { Queue } from 'bullmq'
import { TasksFullError } from '../../shared/errors.ts'

/** How old a count may be before Redis is asked again, in ms. */
const FRESH = 250

/** How old a count may be for a refusal, in ms: while tasks are refused, a new count arrives just after every `FRESH` ms. */
const STALE = 2 * FRESH

export class Bound {
  readonly #queue: Pick<Queue, 'getJobCounts'>
  readonly #limit: number
  /** What Redis counted, and what this process has enqueued since. */
  #stored = 0
  #running = 0
  #askedAt = -Infinity
  #countedAt = -Infinity

  constructor (queue: Pick<Queue, 'getJobCounts'>, limit: number) {
    this.#queue = queue
    this.#limit = limit
  }

  /** Counts one more task. Throws FC_ERR_TASKS_FULL if there are as many as there may be. */
  add (): void {
    const now = performance.now()
    this.#ask(now)
    const isStale = this.#countedAt !== -Infinity && now - this.#countedAt > STALE
    if (this.#stored >= this.#limit && !isStale) throw new TasksFullError({ running: this.#running, waiting: this.#stored, limit: this.#limit, retryAfter: 1 })
    this.#stored++
  }

  #ask (now: number): void {
    if (now - this.#askedAt < FRESH) return
    this.#askedAt = now
    const before = this.#stored
    this.#queue.getJobCounts('waiting', 'delayed', 'active').then(({ waiting = 0, delayed = 0, active = 0 }) => {
      // What was enqueued meanwhile may be missing in the answer.
      this.#stored = waiting + delayed + (this.#stored - before)
      this.#running = active
      this.#countedAt = performance.now()
    }, () => {})
  }
}
