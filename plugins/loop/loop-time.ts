/**
 * LoopTime measures what code costs the event loop without wrapping it: the busy time between two marks belongs to
 * whoever sets the second mark.
 *
 * libuv first polls without waiting, and its idle time grows only if nothing was ready. So idle time that has grown
 * since the last mark says that the loop had caught up with its work. Reading both clocks takes about 0.1 µs.
 * Rejected: AsyncLocalStorage and async_hooks, which make each `await` three times as slow, and a histogram of the
 * loop's delay, which says nothing of causes.
 */

/**
 * Busy time without an owner counts up to this many ms a piece: one stall of a timer must not make every request look
 * expensive.
 */
const MAX_EXTRA_MS = 10
/** The weight of a new sample in the moving means. */
const WEIGHT = 1 / 16

export class LoopTime {
  #now: number
  #idle: number
  #extra = 0
  /** Mean busy time without an owner for each request that was started, in ms: parsing, writing, refusals, timers. */
  extra = 0
  /** When the loop was last seen to have caught up. */
  idleAt: number
  /** When the turn began in which code runs now: after the loop was idle, or after a pump. */
  turnAt: number
  /** Counts these turns. */
  turn = 0

  constructor (now: number, idle: number) {
    this.#now = this.idleAt = this.turnAt = now
    this.#idle = idle
  }

  /** Total idle time at the last mark, in ms. */
  get idle (): number {
    return this.#idle
  }

  /** Sets a mark, and returns the busy time since the last one, in ms. */
  mark (now: number, idle: number): number {
    const rested = idle - this.#idle
    const busy = now - this.#now - rested
    this.#now = now
    this.#idle = idle
    if (rested > 0) {
      this.idleAt = now
      this.beginTurn(now)
    }
    return busy > 0 ? busy : 0
  }

  /**
   * Sets a mark in code that the last mark was set by: the loop can't have been idle. Returns the busy time since that
   * mark, in ms.
   */
  markWithin (now: number): number {
    const busy = now - this.#now
    this.#now = now
    return busy
  }

  beginTurn (now: number): void {
    this.turnAt = now
    this.turn++
  }

  /** Sets a mark whose busy time nobody owns, and returns that time. */
  markUnowned (now: number, idle: number): number {
    const busy = this.mark(now, idle)
    this.#extra += Math.min(busy, MAX_EXTRA_MS)
    return busy
  }

  /** A request starts: it is charged with what nobody owned since the last one. */
  started (): void {
    this.extra += WEIGHT * (this.#extra - this.extra)
    this.#extra = 0
  }
}
