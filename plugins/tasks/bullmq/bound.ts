/**
 * Bound refuses tasks when a queue in Redis holds too many. It is approximate, so that it costs no round trip while
 * there is room: it adds what this process has enqueued to the latest count of Redis. It never refuses by a count that
 * is older than `MAX_COUNT_AGE_MS`, since tasks may have ended since.
 */
import type { Queue } from 'bullmq'
import { TasksFullError } from '../../shared/errors.ts'

/** How old a count may be before Redis is asked again, in ms. */
const COUNT_INTERVAL_MS = 250

/**
 * How old a count may be for a refusal, in ms: while tasks are refused, a new count arrives just after every
 * `COUNT_INTERVAL_MS` ms.
 */
const MAX_COUNT_AGE_MS = 2 * COUNT_INTERVAL_MS

export class Bound {
  readonly #queue: Pick<Queue, 'getJobCounts'>
  readonly #limit: number
  /** Tasks that this process has enqueued since its start. */
  #enqueued = 0
  /**
   * The latest count of Redis, and `#enqueued` when it was asked for. What is enqueued meanwhile may be missing in the
   * count.
   */
  #count = { stored: 0, running: 0, enqueued: 0 }
  #askedAt = -Infinity
  #countedAt = -Infinity
  #counting: Promise<void> | undefined

  constructor (queue: Pick<Queue, 'getJobCounts'>, limit: number) {
    this.#queue = queue
    this.#limit = limit
  }

  get #stored (): number { return this.#count.stored + this.#enqueued - this.#count.enqueued }

  /**
   * Is to be awaited before add(): undefined unless the latest count says that there is no room, and is too old to
   * refuse by it.
   */
  counted (): Promise<void> | undefined {
    const now = performance.now()
    if (now - this.#askedAt >= COUNT_INTERVAL_MS) {
      this.#askedAt = now
      this.#counting = this.#ask()
      this.#counting.catch(() => {})
    }
    return this.#stored >= this.#limit && now - this.#countedAt > MAX_COUNT_AGE_MS ? this.#counting : undefined
  }

  /** Counts one more task. Throws FC_ERR_TASKS_FULL if there are as many as there may be. */
  add (): void {
    if (this.#stored >= this.#limit) {
      throw new TasksFullError({
        running: this.#count.running, waiting: this.#stored, limit: this.#limit, retryAfter: 1
      })
    }
    this.#enqueued++
  }

  async #ask (): Promise<void> {
    const enqueued = this.#enqueued
    const {
      waiting = 0, delayed = 0, active: running = 0
    } = await this.#queue.getJobCounts('waiting', 'delayed', 'active')
    this.#count = { stored: waiting + delayed, running, enqueued }
    this.#countedAt = performance.now()
  }
}
