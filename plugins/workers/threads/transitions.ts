/** Controls when the pool's code runs: one change of its state at a time, and outside any request. */
import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * Changes the pool's state one transition at a time. A transition calls code of the application: subscribers of
 * channels, `onProgress`, the logger. That code may abort a job or run another one. Such a change waits until the
 * present transition is complete.
 */
export class Transitions {
  #active = false
  readonly #waiting: Array<() => void> = []

  /** Runs a transition now, or after the one that is under way. */
  readonly run = (transition: () => void): void => {
    if (this.#active) {
      this.#waiting.push(transition)
      return
    }
    this.#active = true
    try {
      transition()
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) next()
    } finally {
      this.#active = false
      // The application's code threw, which the process handles. The other transitions must not be lost with it.
      if (this.#waiting.length > 0) process.nextTick(this.run, () => {})
    }
  }
}

/**
 * Runs a function outside any request. Otherwise whatever the pool starts while a request is being handled, and that
 * outlives the request (a host, its port, a timer that arms itself again), would keep the request in memory and run in
 * its context.
 */
export const outside: <T>(callback: () => T) => T = AsyncLocalStorage.snapshot()
