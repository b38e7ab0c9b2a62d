/**
 * Pace is a token bucket of loop time: it starts work no faster than the event loop can do it. A handler that waits
 * for its database and computes afterwards returns after 0.1 ms, so nothing that watches the loop alone sees its work
 * before it comes back. The gate charges a request's whole expected cost when the request starts, and settles the
 * charge when the request has been answered.
 *
 * Rejected: 1.25 ms of work for each ms, which lets the probes wait three times as long, and more work while the loop
 * is idle, which comes back too late.
 */

/**
 * How far the pace may lag behind the time, in ms: the work that may start at once. With 30, work after a database
 * wait of 20 ms loses 5 % more at twice the load. Without a bound, the probes wait for a whole burst. A wrong estimate
 * stops the queue for as long at most.
 */
const SLACK_MS = 100

export class Pace {
  /** When the work that was started will have been done. */
  #done = -Infinity

  /** Returns how long nothing may start from now on, in ms; 0 or less if work may start. */
  wait (now: number): number {
    return this.#done - now
  }

  /** Charges work of `ms`, or gives time back if `ms` is negative. */
  charge (ms: number, now: number): void {
    this.#done = Math.min(now + SLACK_MS, Math.max(this.#done, now - SLACK_MS) + ms)
  }
}
