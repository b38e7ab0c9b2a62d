/**
 * The tasks that run, and one timer for the earliest of their deadlines. A timer each would cost more than running a short task does;
 * this one is rearmed only when an earlier deadline comes, and looks at all that run, which `concurrency` bounds.
 */
import type { Clock } from '../shared/clock.ts'
import type { Task } from './task.ts'
import type { Timers } from './timers.ts'

export class Running {
  readonly #tasks = new Set<Task>()
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #onDue: (task: Task) => void
  #timer: NodeJS.Timeout | undefined
  #armedFor = Infinity

  /** `onDue` is called when a task's `dueAt` has come; it must delete the task or move its `dueAt`. */
  constructor (clock: Clock, timers: Timers, onDue: (task: Task) => void) {
    this.#clock = clock
    this.#timers = timers
    this.#onDue = onDue
  }

  get size (): number {
    return this.#tasks.size
  }

  has (task: Task): boolean {
    return this.#tasks.has(task)
  }

  /** Or its `dueAt` has moved. */
  add (task: Task): void {
    this.#tasks.add(task)
    if (task.dueAt < this.#armedFor) this.#arm(task.dueAt)
  }

  delete (task: Task): void {
    this.#tasks.delete(task)
    if (this.#tasks.size === 0) this.#arm(Infinity)
  }

  #arm (at: number): void {
    this.#timers.clear(this.#timer)
    this.#armedFor = at
    // A timer may fire up to 1 ms early.
    this.#timer = this.#timers.set(Math.ceil(at - this.#clock.now()), () => this.#look())
  }

  #look (): void {
    const now = this.#clock.now()
    for (const task of this.#tasks) if (task.dueAt <= now) this.#onDue(task)
    let next = Infinity
    for (const { dueAt } of this.#tasks) next = Math.min(next, dueAt)
    this.#arm(next)
  }
}
