/**
 * Watched is a promise that knows whether anybody has asked for its outcome, and whose rejection never ends the process.
 *
 * Node.js ends a process for a rejection that nobody handles. A client that leaves, load and a shutdown all reject what the suite hands
 * out, so a caller that drops one such promise would let any client end the service. Instead, the error goes to whoever made the promise,
 * to be reported if nobody has asked for it.
 */
export class Watched<T> extends Promise<T> {
  #isAsked = false

  /** What callers derive by then() is an ordinary promise, and theirs to handle. */
  static override get [Symbol.species] (): PromiseConstructor {
    return Promise
  }

  /** @param onRejected is called for a rejection, with a function that tells whether anybody has asked for the outcome so far */
  static of<T> (work: Promise<T>, onRejected: (error: unknown, isAsked: () => boolean) => void): Promise<T> {
    const watched = new Watched<T>((resolve) => resolve(work))
    void Promise.prototype.then.call(watched, undefined, (error: unknown) => onRejected(error, () => watched.#isAsked))
    return watched
  }

  /** `await` calls this too, since the constructor of this promise isn't Promise itself. */
  override then<Fulfilled = T, Rejected = never> (
    onFulfilled?: ((value: T) => Fulfilled | PromiseLike<Fulfilled>) | null,
    onRejected?: ((reason: unknown) => Rejected | PromiseLike<Rejected>) | null
  ): Promise<Fulfilled | Rejected> {
    this.#isAsked = true
    return super.then(onFulfilled, onRejected)
  }
}
