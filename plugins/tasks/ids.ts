/** The tasks that are held: the latest of each id, and who waits behind whom, since one id never runs twice at once. */
import type { Task } from './task.ts'

export class Ids {
  readonly #latest = new Map<string, Task>()
  /** Still running, while a newer one of its id waits. */
  readonly #replaced = new Set<Task>()

  get size (): number {
    return this.#latest.size + this.#replaced.size
  }

  get (id: string): Task | undefined {
    return this.#latest.get(id)
  }

  all (): Task[] {
    return [...this.#latest.values(), ...this.#replaced]
  }

  add (task: Task): void {
    this.#latest.set(task.id, task)
  }

  /** The newcomer waits until the running one has settled. */
  putBehind (running: Task, newcomer: Task): void {
    this.#replaced.add(running)
    this.add(newcomer)
    running.successor = newcomer
    newcomer.behind = running
  }

  /** The newcomer takes over from one that waits. True if that waited behind a third. */
  takeOver (waiting: Task, newcomer: Task): boolean {
    this.add(newcomer)
    const { behind } = waiting
    if (behind === undefined) return false
    behind.successor = newcomer
    newcomer.behind = behind
    waiting.behind = undefined
    return true
  }

  /** Returns who has waited for it. */
  remove (task: Task): Task | undefined {
    if (this.#latest.get(task.id) === task) this.#latest.delete(task.id)
    else this.#replaced.delete(task)
    if (task.behind !== undefined) task.behind.successor = undefined
    const { successor } = task
    if (successor !== undefined) task.successor = successor.behind = undefined
    return successor
  }
}
