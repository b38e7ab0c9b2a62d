/**
 * How many tasks may be held at once, and who waits for room: first come, first served. Both are bounded.
 * Room that becomes free is handed to the first who waits, so that a newcomer can't overtake.
 */
import { List, type Linked } from './list.ts'

interface Waiter extends Linked<Waiter> {
  enter: () => void
  refuse: (error: unknown) => void
}

export class Room {
  readonly capacity: number
  readonly maxWaiting: number
  #taken = 0
  #waiters = new List<Waiter>()

  constructor (capacity: number, maxWaiting: number) {
    this.capacity = capacity
    this.maxWaiting = maxWaiting
  }

  get taken (): number {
    return this.#taken
  }

  get waiting (): number {
    return this.#waiters.size
  }

  /** False if there is none. Whoever waits can't be overtaken: while someone does, all room is taken. */
  take (): boolean {
    if (this.#taken >= this.capacity) return false
    this.#taken++
    return true
  }

  /**
   * Resolves with a place taken. Rejects with the signal's reason if it aborts first, and with the error of refuseAll().
   * `undefined` if too many wait already.
   */
  wait (signal: AbortSignal): Promise<void> | undefined {
    if (this.take()) return Promise.resolve()
    if (this.#waiters.size >= this.maxWaiting) return undefined
    return new Promise((resolve, reject) => {
      const leave = (): void => { signal.removeEventListener('abort', abort) }
      const waiter: Waiter = {
        list: undefined,
        previous: undefined,
        next: undefined,
        enter: () => { leave(); resolve() },
        refuse: (error) => { leave(); reject(error) }
      }
      const abort = (): void => {
        leave()
        if (this.#waiters.remove(waiter)) reject(signal.reason)
      }
      this.#waiters.push(waiter)
      signal.addEventListener('abort', abort)
    })
  }

  give (): void {
    const next = this.#waiters.shift()
    if (next === undefined) this.#taken--
    else next.enter()
  }

  refuseAll (error: unknown): void {
    for (let waiter = this.#waiters.shift(); waiter !== undefined; waiter = this.#waiters.shift()) waiter.refuse(error)
  }
}

/** Whole seconds until what waits now will have started, from how long tasks take. From 1 to 300: past that nobody can tell. */
export function secondsUntilRoom (waiting: number, meanRunMs: number, concurrency: number): number {
  return Math.min(Math.max(Math.ceil(waiting * meanRunMs / concurrency / 1_000), 1), 300)
}
