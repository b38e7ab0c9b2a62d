/**
 * Bound refuses tasks when a queue in Redis holds too many. It is approximate, so that it costs no round trip: it adds what this process has enqueued
 * to what Redis counted up to `FRESH` ms ago.
 */
import type { Queue } from 'bullmq'
import { TasksFullError } from '../../shared/errors.ts'

/** How old a count may be before Redis is asked again, in ms. */
const FRESH = 250

export class Bound {
  readonly #queue: Pick<Queue, 'getJobCounts'>
  readonly #limit: number
  /** What Redis counted, and what this process has enqueued since. */
  #stored = 0
  #running = 0
  #askedAt = -Infinity

  constructor (queue: Pick<Queue, 'getJobCounts'>, limit: number) {
    this.#queue = queue
    this.#limit = limit
  }

  /** Counts one more task. Throws FC_ERR_TASKS_FULL if there are as many as there may be. */
  add (): void {
    this.#ask(performance.now())
    if (this.#stored >= this.#limit) throw new TasksFullError({ running: this.#running, waiting: this.#stored, limit: this.#limit, retryAfter: 1 })
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
    }, () => {})
  }
}
