/**
 * RestartPolicy decides how long a start of one thread may take, and when a thread that failed is started again. Each
 * restart comes later than the one before. Restarted at once, a thread that can't start, or that dies without having
 * served a job, would only burn a CPU. The time is an argument.
 */

/** The delay before the first restart, and the longest one, in ms. */
const FIRST_RESTART_DELAY_MS = 100
export const MAX_RESTART_DELAY_MS = 5_000

/**
 * How often the time of a start is doubled: a machine that is slow for a while must not end every thread just before it
 * is ready.
 */
const MAX_DOUBLINGS = 3

/**
 * When no thread has started for this long, in ms, the jobs that wait are refused, and again each time that it has
 * passed.
 */
export const UNABLE_AFTER_MS = 5_000

export class RestartPolicy {
  /** How often in a row the thread failed. The kill of a thread that was ready isn't counted. */
  #failures = 0
  #failingSince = 0

  /** Records the failure of a start that began at `startedAt`. Returns the delay before the restart, in ms. */
  failed (startedAt: number): number {
    if (this.#failures === 0) this.#failingSince = startedAt
    return Math.min(MAX_RESTART_DELAY_MS, FIRST_RESTART_DELAY_MS * 2 ** this.#failures++)
  }

  /** Records that the thread has served a job. */
  served (): void {
    this.#failures = 0
  }

  /**
   * Returns the time, in ms, until the thread has failed for so long that jobs needn't wait for it; `Infinity` if it
   * has not failed.
   */
  untilUnable (now: number): number {
    return this.#failures === 0 ? Infinity : Math.max(0, this.#failingSince + UNABLE_AFTER_MS - now)
  }

  /**
   * Returns how long a restart may take, in ms: its imports compete with the load. @param slowest the slowest start so
   * far, in ms
   */
  startLimit (slowest: number): number {
    return Math.max(2_000, Math.min(10 * slowest, 10_000), 2 * slowest) * 2 ** Math.min(this.#failures, MAX_DOUBLINGS)
  }
}
