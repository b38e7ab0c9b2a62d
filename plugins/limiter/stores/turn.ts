/**
 * Bounds how long the operations on a remote store take that begin in one turn of the event loop. The operations share a
 * timer: one timer for each of them cost as much as the rest of a decision.
 *
 * Clients send their commands at the end of the turn, so the time begins there. When the event loop has stood still,
 * timers fire before a reply that has long arrived is read, so replies are read once more before an operation is late.
 */
export class Turn {
  readonly #timeout: number
  /** What rejects each of the operations under way. */
  readonly #open = new Set<(error: Error) => void>()
  #timer: NodeJS.Timeout | undefined

  /**
   * @param timeout in ms, as much as a timer can hold
   * @param onEnd called at the end of the turn: what begins later belongs to another Turn
   */
  constructor (timeout: number, onEnd: () => void) {
    this.#timeout = timeout
    setImmediate(() => {
      onEnd()
      if (this.#open.size > 0) this.#timer = setTimeout(() => setImmediate(() => this.#fail()), timeout)
    })
  }

  /** Settles as the operation does. Rejects if it takes longer than the timeout: it may still be carried out later. */
  bound<T> (operation: T | PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#open.add(reject)
      Promise.resolve(operation).then((value) => {
        this.#end(reject)
        resolve(value)
      }, (error: unknown) => {
        this.#end(reject)
        reject(error as Error)
      })
    })
  }

  #end (reject: (error: Error) => void): void {
    this.#open.delete(reject)
    if (this.#open.size === 0) clearTimeout(this.#timer)
  }

  #fail (): void {
    for (const reject of this.#open) reject(new Error(`The store took longer than ${this.#timeout} ms`))
  }
}
