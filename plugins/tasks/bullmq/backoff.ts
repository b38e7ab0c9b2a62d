/**
 * Backoff spaces the tries of a Worker to take tasks from a Redis that refuses: its memory is full, say, or a right is
 * missing. A Worker of BullMQ would ask again at once, thousands of times a second.
 */

/** The pause after the first refusal, in ms. Each further refusal doubles the pause. */
const FIRST_PAUSE_MS = 100

/** The longest pause, in ms: how late a process may notice that Redis works again. */
const MAX_PAUSE_MS = 2_000

export class Backoff {
  readonly #limit: number
  #refusals = 0
  #endsAt = 0
  /** How many pauses end at once: what interrupts them came before. */
  #interrupts = 0
  #isEnded = false
  /** Ends the pause that somebody waits for. */
  #wake: (() => void) | undefined

  /** @param limit how many interruptions may come while nobody waits for a pause */
  constructor (limit: number) {
    this.#limit = limit
  }

  /** Whether Redis refused the last try. */
  get isRefused (): boolean { return this.#refusals > 0 }

  /** Resolves to true when the pause is over, and to false if it was interrupted. */
  async pause (): Promise<boolean> {
    if (this.#isEnded) return false
    if (this.#interrupts > 0) {
      this.#interrupts--
      return false
    }
    return await new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), this.#endsAt - performance.now())
      this.#wake = () => {
        clearTimeout(timer)
        this.#wake = undefined
        resolve(!this.#isEnded && performance.now() >= this.#endsAt)
      }
    })
  }

  refused (): void {
    this.#endsAt = performance.now() + Math.min(FIRST_PAUSE_MS * 2 ** this.#refusals++, MAX_PAUSE_MS)
  }

  granted (): void {
    this.#refusals = 0
  }

  /** Ends the pause, or the next one if nobody waits for any: the Worker has something else to do. */
  interrupt (): void {
    if (this.#wake !== undefined) this.#wake()
    else this.#interrupts = Math.min(this.#interrupts + 1, this.#limit)
  }

  /** Ends all pauses, for good. */
  end (): void {
    this.#isEnded = true
    this.#wake?.()
  }
}
