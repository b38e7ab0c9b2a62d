/** Parents are the signals that abort a group: its request's, its task's, and one that the caller passed. */
export class Parents {
  readonly #signals: readonly AbortSignal[]
  readonly #controller: AbortController
  #isFollowed = false

  constructor (signals: readonly AbortSignal[], controller: AbortController) {
    this.#signals = signals
    this.#controller = controller
  }

  /**
   * Aborts the group when a parent aborts, or has aborted, until forget(). Idempotent.
   *
   * Until then each parent holds the group's controller strongly. Often nothing but the group's signal keeps the code
   * alive that waits for the abort: with a weak reference, a garbage collection would take all of it, and the abort
   * would be lost. Not AbortSignal.any() either, whose references are weak, and on Node 20 a parent that lives long
   * holds on to every signal made from it.
   */
  follow (): void {
    if (this.#isFollowed || this.check()) return
    this.#isFollowed = true
    for (const signal of this.#signals) signal.addEventListener('abort', this.#onAbort)
  }

  forget (): void {
    if (!this.#isFollowed) return
    this.#isFollowed = false
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#onAbort)
  }

  /** Aborts the group if a parent has aborted, and tells whether the group is aborted. */
  check (): boolean {
    this.#onAbort()
    return this.#controller.signal.aborted
  }

  readonly #onAbort = (): void => {
    const aborted = this.#signals.find((signal) => signal.aborted)
    if (aborted !== undefined) this.#controller.abort(aborted.reason)
  }
}
