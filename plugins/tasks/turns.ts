/**
 * Turn keeps chains of microtasks from starving the event loop. Work that is ready at once (a synchronous task that
 * submits the next one, map() over an array) would otherwise keep timers and sockets waiting until it ends.
 */

/** How long such work may go on within one turn of the event loop, in ms. */
const SLICE_MS = 10

export class Turn {
  #endsAt = 0

  /** Tells whether the rest of the work should go on in the next turn. The first call in a turn starts the time. */
  isOver (): boolean {
    const now = performance.now()
    if (this.#endsAt > 0) return now >= this.#endsAt
    this.#endsAt = now + SLICE_MS
    setImmediate(() => { this.#endsAt = 0 })
    return false
  }
}
