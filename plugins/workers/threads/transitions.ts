/**
 * Changes the pool's state one transition at a time. A transition calls code of the application: subscribers of channels, `onProgress`,
 * the logger. That code may abort a job or run another one; what it asks for is done once the transition is complete.
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
      // The application's code threw, and the error is its process's to handle. Nobody else's abort may be lost with it.
      if (this.#waiting.length > 0) process.nextTick(this.run, () => {})
    }
  }
}
