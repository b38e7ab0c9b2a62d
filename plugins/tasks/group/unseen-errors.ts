/**
 * UnseenErrors reports the errors of a group that nobody has seen, when nobody will use the group any more: the request or the task that
 * made it has ended, or its `await using` scope was left. A group that is made elsewhere has no such end; its errors are reported at once.
 */
export class UnseenErrors {
  readonly #report: (error: unknown) => void
  readonly #reported = new Set<unknown>()
  #errors: Array<{ error: unknown, isSeen: () => boolean }> = []
  #isOver = false

  constructor (report: (error: unknown) => void = () => {}) {
    this.#report = report
  }

  /** @param isSeen tells whether somebody has seen the error by now, or waits for it */
  add (error: unknown, isSeen: () => boolean): void {
    this.#errors.push({ error, isSeen })
    if (this.#isOver) this.#reportSoon()
  }

  /** Nobody will use the group any more. */
  end (): void {
    this.#isOver = true
    this.#reportSoon()
  }

  /** After a turn of the event loop: the caller may yet return the promise, or await it next. */
  #reportSoon (): void {
    if (this.#errors.length > 0) setImmediate(() => this.#reportUnseen())
  }

  #reportUnseen (): void {
    const errors = this.#errors
    this.#errors = []
    for (const { error, isSeen } of errors) {
      if (isSeen() || this.#reported.has(error)) continue
      this.#reported.add(error)
      this.#report(error)
    }
  }
}
