/** Random numbers that come again for the same seed: mulberry32. */
export class Random {
  #state: number

  constructor (seed: number) {
    this.#state = (seed * 0x9E3779B9) >>> 0
  }

  /** Returns a number from 0 up to 1. */
  next (): number {
    this.#state = (this.#state + 0x6D2B79F5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** Returns a whole number from 0 up to `below`. */
  below (below: number): number {
    return Math.floor(this.next() * below)
  }
}
