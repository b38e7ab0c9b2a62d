/** What is known of stored tasks that have failed for the last time. */

/** FailedTask is a stored task that has failed for the last time, and is kept with its error. */
export interface FailedTask<Payload = unknown> {
  /** The id of the handle and of the log: the name, a colon, and the id given to enqueue(). */
  id: string
  /** Distinguishes failed tasks of the same id. retry() and discard() take it in place of the id. */
  storedId: string
  /** The error of the last attempt. `stack` is absent if none was kept. */
  error: { name: string, message: string, code?: string, stack?: string }
  /** How many attempts were made. */
  attempts: number
  /** When enqueue() accepted the task, in ms since the epoch. */
  enqueuedAt: number
  /** When the last attempt ended, in ms since the epoch, by the clock of the process that ran the task. */
  failedAt: number
  /** Present only if it was asked for. It may hold personal data, and may be large. */
  payload?: Payload
}

/** Options of `tasks.failed()`. */
export interface FailedOptions {
  /**
   * How many failed tasks to leave out, of the latest.
   * @default 0
   */
  offset?: number
  /**
   * How many failed tasks to read, 1 to 1,000.
   * @default 100
   */
  limit?: number
  /**
   * Reads the payloads, too.
   * @default false
   */
  payload?: boolean
}
