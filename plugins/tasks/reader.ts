/** Reads an iterable until a signal aborts, even if the iterable has nothing to say any more. */
export class Reader<Item> {
  readonly #iterator: Iterator<Item> | AsyncIterator<Item>
  readonly #signal: AbortSignal
  readonly #onAbort = (): void => this.#stop?.(undefined)
  #stop: ((nothing: undefined) => void) | undefined
  #ended = false

  constructor (items: Iterable<Item> | AsyncIterable<Item>, signal: AbortSignal) {
    // Not `in`: a string is iterable too.
    const made = (items as Partial<AsyncIterable<Item>>)[Symbol.asyncIterator]?.call(items)
    this.#iterator = made ?? (items as Iterable<Item>)[Symbol.iterator]()
    this.#signal = signal
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** It has no more items; false if only the signal has aborted. */
  get ended (): boolean {
    return this.#ended
  }

  /** `undefined` at the end, and once the signal has aborted. Rejects with the iterable's own error. */
  async next (): Promise<{ value: Item } | undefined> {
    if (this.#signal.aborted) return undefined
    // Not Promise.race() with one promise for the signal: that would collect a reaction for each item.
    const result = await new Promise<IteratorResult<Item> | undefined>((resolve, reject) => {
      this.#stop = resolve
      Promise.resolve().then(() => this.#iterator.next()).then(resolve, (error: unknown) => {
        this.#ended = true
        reject(error)
      })
    })
    if (result === undefined) return undefined
    if (result.done === true) {
      this.#ended = true
      return undefined
    }
    return { value: await result.value }
  }

  /** Lets the iterable clean up. Not waited for: an async generator's return() waits for the item that it is making. */
  leave (): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
    if (this.#ended) return
    this.#ended = true
    Promise.resolve().then(() => this.#iterator.return?.()).catch(() => {})
  }
}
