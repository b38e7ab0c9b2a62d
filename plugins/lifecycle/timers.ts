import { MAX_DURATION } from '../shared/options.ts'

/**
 * Timers that keep the process alive until the shutdown has ended. Otherwise a task that waits only for a promise would
 * end with the process.
 */
export class Timers {
  readonly #armed = new Set<NodeJS.Timeout>()

  /** Runs `fn` after `ms`. With `Infinity`, or once cleared, `fn` never runs. */
  after (ms: number, fn: () => void): void {
    if (ms !== Infinity) this.#armed.add(setTimeout(fn, Math.min(ms, MAX_DURATION)))
  }

  wait (ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  clear (): void {
    for (const timer of this.#armed) clearTimeout(timer)
    this.#armed.clear()
  }
}
