import { MAX_DURATION } from '../options.ts'

/** Timers that are counted, so that a test can see that none is left, and unref'd: what waits for a retry holds no process open. */
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
    }, Math.min(ms, MAX_DURATION)).unref()
    this.#armed.add(timer)
    return timer
  }

  clear (timer: NodeJS.Timeout | undefined): void {
    if (timer === undefined) return
    clearTimeout(timer)
    this.#armed.delete(timer)
  }
}
