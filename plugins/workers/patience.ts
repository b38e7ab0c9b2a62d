/**
 * How long clients are seen to wait before they give up, as a share of the wait that a burst is allowed.
 *
 * A server isn't told its clients' patience. But one that gives up says what it is by leaving, and serving those who are about to
 * leave wastes the thread. So the room for waiting shrinks towards what those waited who left, grows with each job that waited
 * long and was still wanted, and comes back with time: a change of clients is noticed, and a few impatient ones don't decide for the rest.
 */

/** How far one departure moves the room, and how much shorter a wait it asks for than the one that was too long. */
const SHRINK = 0.3
const MARGIN = 0.7
/** What one job served after a long wait gives back. */
const GROWTH = 0.01
/** After so long without a departure nothing is left of what was learnt, in ms. */
const MEMORY = 20_000

export class Patience {
  #room = 1
  #leftAt = 0

  /** From 0 to 1. A clock that went backwards counts as no time. */
  room (now: number): number {
    return Math.min(1, this.#room + Math.max(0, now - this.#leftAt) / MEMORY)
  }

  /** A client left after waiting for this share of what is allowed. */
  left (share: number, now: number): void {
    const room = this.room(now)
    this.#room = room + SHRINK * Math.min(0, MARGIN * share - room)
    this.#leftAt = now
  }

  /** A client got its answer after waiting for this share of what is allowed. A short wait says nothing about patience. */
  served (share: number): void {
    if (share > this.#room / 2) this.#room = Math.min(1, this.#room + GROWTH)
  }
}
