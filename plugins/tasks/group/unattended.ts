/**
 * What a group has started and nobody has asked for yet: its functions, and the promises of map(), race() and wait().
 * It outlives a group that is dropped, so that the group's errors are reported all the same, and must not hold on to the group.
 */
import { read } from '../thrown.ts'

export interface Outcome {
  asked: boolean
  /** The first error, if there is one. */
  error: { value: unknown } | undefined
  /** Whether wait() throws its error too. */
  readonly throughWait: boolean
}

/** Why nobody has seen an error: the whole group was dropped, or the error came out of nothing that was awaited. */
export type Unseen = 'dropped' | 'failed'

export class Unattended {
  readonly #open = new Set<Outcome>()
  readonly #functions: Outcome = { asked: false, error: undefined, throughWait: true }
  readonly #report: (how: Unseen, error: unknown) => void
  readonly #reported = new Set<unknown>()
  #dropped = false

  /** @param report is told of a dropped group (`error` is undefined if it has none so far), and of each error that nobody has seen */
  constructor (report: (how: Unseen, error: unknown) => void = () => {}) {
    this.#report = report
  }

  /** The group has started a function. */
  started (): void {
    this.#open.add(this.#functions)
  }

  functionFailed (error: unknown): void {
    this.failed(this.#functions, error)
  }

  /** The group has handed out a promise. */
  promised (throughWait: boolean): Outcome {
    const outcome: Outcome = { asked: false, error: undefined, throughWait }
    this.#open.add(outcome)
    return outcome
  }

  asked (outcome: Outcome): void {
    outcome.asked = true
    this.#open.delete(outcome)
  }

  failed (outcome: Outcome, value: unknown): void {
    outcome.error ??= { value }
    // Until it is first read, a stack holds on to the objects whose methods it names: here, to the group.
    if (typeof value === 'object' && value !== null) read(value, 'stack')
    if (this.#dropped) this.#tellLater([outcome])
  }

  /** Somebody has called wait(), which will throw the errors of all functions and map()s. */
  waited (): void {
    for (const outcome of this.#open) if (outcome.throughWait) this.asked(outcome)
  }

  /** The request or task that made the group has ended, or the group is garbage. */
  drop (): void {
    if (this.#dropped || this.#open.size === 0) return
    this.#dropped = true
    const failed = [...this.#open].filter(({ error }) => error !== undefined)
    const error = failed[0]?.error?.value
    if (failed.length > 0) this.#reported.add(error)
    this.#report('dropped', error)
    this.#tell(failed)
  }

  /** Everything has settled, and the scope of the group was left. */
  end (): void {
    const outcomes = [...this.#open]
    this.#open.clear()
    this.#tell(outcomes.filter((outcome) => outcome === this.#functions))
    this.#tellLater(outcomes.filter((outcome) => outcome !== this.#functions))
  }

  /** Tells after a turn of the event loop: the caller may yet return the promise, or await it next. */
  #tellLater (outcomes: readonly Outcome[]): void {
    if (outcomes.length > 0) setImmediate(() => this.#tell(outcomes))
  }

  #tell (outcomes: readonly Outcome[]): void {
    for (const { asked, error } of outcomes) {
      if (asked || error === undefined || this.#reported.has(error.value)) continue
      this.#reported.add(error.value)
      this.#report('failed', error.value)
    }
  }
}
