/**
 * The ids that are taken: by the task that waits, runs or has leaked, and by the one that waits behind it. One id never runs twice at once,
 * so an id is free only when the function of its task has really ended.
 */
import type { Task } from './task.ts'

export class Ids {
  readonly #first = new Map<string, Task>()

  /** The task that was submitted last. */
  latest (id: string): Task | undefined {
    const first = this.#first.get(id)
    return first?.successor ?? first
  }

  * all (): Iterable<Task> {
    for (const task of this.#first.values()) {
      yield task
      if (task.successor !== undefined) yield task.successor
    }
  }

  add (task: Task): void {
    this.#first.set(task.id, task)
  }

  /** The newcomer waits until the function of the first has ended. */
  putBehind (newcomer: Task): void {
    this.#first.get(newcomer.id)!.successor = newcomer
  }

  /** The newcomer takes the position of a task that waits. Returns whether that is behind another task. */
  takeOver (waiting: Task, newcomer: Task): boolean {
    const isBehind = this.#first.get(waiting.id) !== waiting
    if (isBehind) this.putBehind(newcomer)
    else this.add(newcomer)
    return isBehind
  }

  /** Returns the task that waited behind this one. */
  remove (task: Task): Task | undefined {
    const first = this.#first.get(task.id)
    if (first?.successor === task) first.successor = undefined
    if (first !== task) return undefined
    const { successor } = task
    task.successor = undefined
    if (successor === undefined) this.#first.delete(task.id)
    else this.add(successor)
    return successor
  }
}
