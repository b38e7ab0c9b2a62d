/** How many stacks are kept a second. */
const BUDGET = 1_000

/**
 * Remembers where work was submitted. A stack costs about 5 µs, several times what submitting does, so under load not every task
 * has one: 1,000 a second are enough to name any place that leaks, and cost half a percent of a CPU.
 */
export class CallSites {
  readonly #enabled: boolean
  readonly #now: () => number
  #second = -Infinity
  #left = 0

  constructor (enabled: boolean, now: () => number) {
    this.#enabled = enabled
    this.#now = now
  }

  /** An object whose `stack` begins at the caller of `above`; formatted only when read. */
  capture (above: (...args: never[]) => unknown): { stack: string } | undefined {
    if (!this.#enabled) return undefined
    const now = this.#now()
    if (now - this.#second >= 1_000) {
      this.#second = now
      this.#left = BUDGET
    }
    if (this.#left === 0) return undefined
    this.#left--
    const site = {}
    Error.captureStackTrace(site, above)
    return site as { stack: string }
  }
}
