/**
 * A promise that knows whether anybody has asked for its outcome, and whose rejection never ends the process.
 *
 * Node.js ends a process for a rejection that nobody handles. A client that leaves, load and a shutdown all reject what the suite hands
 * out, so a caller that drops one such promise would let any client end the service. Whoever made the promise is told instead, and
 * reports the errors that nobody has asked for.
 */
export class Watched<T> extends Promise<T> {
  #onAsked: (() => void) | undefined

  /** What callers derive by then() is an ordinary promise, and their own to handle. */
  static override get [Symbol.species] (): PromiseConstructor {
    return Promise
  }

  /** @param onRejected is called for each rejection, whether anybody has asked or not */
  static of<T> (work: Promise<T>, onAsked: () => void, onRejected: (error: unknown) => void): Promise<T> {
    const watched = new Watched<T>((resolve) => resolve(work))
    void Promise.prototype.then.call(watched, undefined, onRejected)
    watched.#onAsked = onAsked
    return watched
  }

  /** `await` calls this too, since the constructor of this promise isn't Promise itself. */
  override then<Fulfilled = T, Rejected = never> (
    onFulfilled?: ((value: T) => Fulfilled | PromiseLike<Fulfilled>) | null,
    onRejected?: ((reason: unknown) => Rejected | PromiseLike<Rejected>) | null
  ): Promise<Fulfilled | Rejected> {
    this.#onAsked?.()
    return super.then(onFulfilled, onRejected)
  }
}
