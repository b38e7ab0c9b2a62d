/**
 * Changes the pool's state one transition at a time. A transition calls code of the application: subscribers of channels, `onProgress`,
 * the logger. That code may abort a job or run another one. Such a change waits until the present transition is complete.
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
