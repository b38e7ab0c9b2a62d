/**
 * Deadlines holds the attempts that run, and one timer for the earliest of their deadlines. A timer for each attempt would cost more than a
 * short task itself. The one timer is set again only for an earlier deadline. It looks at all running attempts, which `concurrency` bounds.
 */
import type { Clock } from '../../shared/clock.ts'
import { MAX_DURATION } from '../../shared/options.ts'
import type { Task } from '../task.ts'
import type { Attempt } from './attempt.ts'

export class Deadlines {
  readonly #attempts = new Map<Task, Attempt>()
  readonly #clock: Clock
  readonly #onDue: (attempt: Attempt) => void
  #timer: NodeJS.Timeout | undefined
  #armedFor = Infinity

  /** @param onDue is called when the `dueAt` of an attempt has come; it must delete the attempt or move the `dueAt` */
  constructor (clock: Clock, onDue: (attempt: Attempt) => void) {
    this.#clock = clock
    this.#onDue = onDue
  }

  get size (): number { return this.#attempts.size }
  get isArmed (): boolean { return this.#timer !== undefined }

  /** Returns the attempt of a task that runs. */
  get (task: Task): Attempt | undefined {
    return this.#attempts.get(task)
  }

  all (): Iterable<Attempt> {
    return this.#attempts.values()
  }

  /** Adds an attempt. Call it again when the attempt's `dueAt` has moved. */
  add (attempt: Attempt): void {
    this.#attempts.set(attempt.task, attempt)
    if (attempt.dueAt < this.#armedFor) this.#arm(attempt.dueAt)
  }

  delete ({ task }: Attempt): void {
    this.#attempts.delete(task)
    if (this.#attempts.size === 0) this.#arm(Infinity)
  }

  #arm (at: number): void {
    clearTimeout(this.#timer)
    this.#armedFor = at
    // A timer may fire up to 1 ms early.
    this.#timer = at === Infinity ? undefined : setTimeout(() => this.#look(), Math.min(Math.ceil(at - this.#clock.now()), MAX_DURATION))
  }

  #look (): void {
    const now = this.#clock.now()
    for (const attempt of this.all()) if (attempt.dueAt <= now) this.#onDue(attempt)
    let next = Infinity
    for (const { dueAt } of this.all()) next = Math.min(next, dueAt)
    this.#arm(next)
  }
}
