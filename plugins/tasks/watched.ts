/**
 * Watched is a promise whose rejection never ends the process.
 *
 * Node.js ends a process for a rejection that nobody handles. A client that leaves, load and a shutdown all reject what
 * the suite hands out, so a caller that drops one such promise would let any client end the service. Instead, the error
 * is reported if nobody has asked for the outcome by the next turn of the event loop. That is when Node.js itself would
 * have ended the process.
 */
export class Watched<T> extends Promise<T> {
  #isAsked = false

  /** A promise that a caller derives by then() is an ordinary promise, whose rejection the caller must handle. */
  static override get [Symbol.species] (): PromiseConstructor {
    return Promise
  }

  /** @param report is called for a rejection that nobody has asked for */
  static of<T> (work: Promise<T>, report: (error: unknown) => void): Promise<T> {
    const watched: Watched<T> = new Watched((resolve, reject) => {
      work.then(resolve, (error: unknown) => {
        void Promise.prototype.then.call(watched, undefined, () => {})
        reject(error)
        setImmediate(() => { if (!watched.#isAsked) report(error) })
      })
    })
    return watched
  }

  /** `await` calls this method too, since the constructor of the promise isn't Promise itself. */
  override then<Fulfilled = T, Rejected = never> (
    onFulfilled?: ((value: T) => Fulfilled | PromiseLike<Fulfilled>) | null,
    onRejected?: ((reason: unknown) => Rejected | PromiseLike<Rejected>) | null
  ): Promise<Fulfilled | Rejected> {
    this.#isAsked = true
    return super.then(onFulfilled, onRejected)
  }
}
