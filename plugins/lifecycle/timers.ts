import { MAX_DURATION } from '../shared/options.ts'

export interface Timers {
  /** Runs `fn` after `ms`; with `Infinity`, or once cleared, never. */
  after (ms: number, fn: () => void): void
  /** Resolves after `ms`. */
  wait (ms: number): Promise<void>
  clear (): void
}

/** Ref'd: they hold the process until the shutdown has ended. A task that waits on nothing but a promise would die with it. */
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
