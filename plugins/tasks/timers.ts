import { MAX_DURATION } from '../shared/options.ts'

/**
 * Timers that are counted, so that a test can see that none is left. Ref'd: a task that waits for its retry was accepted, and a
 * process that ended meanwhile would lose it without a word.
 */
export class Timers {
  #armed = new Set<NodeJS.Timeout>()

  get count (): number {
    return this.#armed.size
  }

  /** `undefined`, and never called, for Infinity. */
  set (ms: number, fn: () => void): NodeJS.Timeout | undefined {
    if (ms === Infinity) return undefined
    const timer = setTimeout(() => {
      this.#armed.delete(timer)
      fn()
    }, Math.min(ms, MAX_DURATION))
    this.#armed.add(timer)
    return timer
  }

  clear (timer: NodeJS.Timeout | undefined): void {
    if (timer === undefined) return
    clearTimeout(timer)
    this.#armed.delete(timer)
  }
}
