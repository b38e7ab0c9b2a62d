import { MAX_DURATION } from '../shared/options.ts'

export interface Timers {
  /** Runs `fn` after `ms`. With `Infinity`, or once cleared, `fn` never runs. */
  after (ms: number, fn: () => void): void
  /** Resolves after `ms`. */
  wait (ms: number): Promise<void>
  clear (): void
}

/** Creates timers that keep the process alive until the shutdown has ended. Otherwise a task that waits only for a promise would end with the process. */
export function createTimers (): Timers {
  const armed = new Set<NodeJS.Timeout>()
  const timers: Timers = {
    after (ms, fn) { if (ms !== Infinity) armed.add(setTimeout(fn, Math.min(ms, MAX_DURATION))) },
    wait: (ms) => new Promise((resolve) => timers.after(ms, resolve)),
    clear () {
      for (const timer of armed) clearTimeout(timer)
      armed.clear()
    }
  }
  return timers
}
