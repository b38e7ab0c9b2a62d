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
    const read = await new Promise<{ result: IteratorResult<Item> } | undefined>((resolve, reject) => {
      this.#stop = resolve
      this.#read().then(resolve, (error: unknown) => {
        this.#ended = true
        reject(error)
      })
    })
    if (read === undefined) return undefined
    // The item isn't awaited: it may be a query, which awaiting would run, and which is the function's to run.
    if (read.result.done !== true) return { value: read.result.value }
    this.#ended = true
    return undefined
  }

  async #read (): Promise<{ result: IteratorResult<Item> }> {
    const result: unknown = await this.#iterator.next()
    // Without this check, an iterator that answers nothing would pass off a part of its items as the whole.
    if (typeof result !== 'object' || result === null) throw new TypeError(`The iterator's next() returned ${String(result)}, which is not an object`)
    return { result: result as IteratorResult<Item> }
  }

  /** Lets the iterable clean up. Not waited for: an async generator's return() waits for the item that it is making. */
  leave (): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
    if (this.#ended) return
    this.#ended = true
    ;(async () => { await this.#iterator.return?.() })().catch(() => {})
  }
}
