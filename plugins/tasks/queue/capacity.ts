/**
 * Capacity bounds how many tasks are held at once, and how many callers wait to submit one; both are shared fairly between keys.
 *
 * An accepted task is never evicted, so fairness is decided at the entrance, by a dynamic threshold (Choudhury and Hahne, 1998): a key may
 * hold no more waiting tasks than there are places free, idle slots included. So one key alone fills half of the queue, two keys two
 * thirds, and a key that comes later finds a place. A constant share for each key would waste the queue of a service that has one key.
 */
import { FairQueue, type Keyed } from './fair-queue.ts'

type State = 'waiting' | 'running' | 'returned'

/** Permit is the right to hold one task. Its owner gives it back by disposing of it, once or more often. */
export class Permit implements Disposable {
  readonly key: string
  readonly #moved: (key: string, from: State, to: State) => void
  #state: State = 'waiting'

  constructor (key: string, moved: (key: string, from: State, to: State) => void) {
    this.key = key
    this.#moved = moved
  }

  /** The task runs: it takes no place of the queue. */
  run (): void { this.#move('running') }

  /** The task waits again, for a retry. */
  wait (): void { this.#move('waiting') }

  [Symbol.dispose] (): void { this.#move('returned') }

  #move (to: State): void {
    const from = this.#state
    if (from === to || from === 'returned') return
    this.#state = to
    this.#moved(this.key, from, to)
  }
}

interface Waiter extends Keyed<Waiter> {
  enter: (permit: Permit) => void
  refuse: (error: unknown) => void
}

export interface CapacityOptions {
  /** How many tasks run at once. */
  concurrency: number
  /** How many more tasks may be held. */
  maxQueue: number
  /** How many callers may wait for a permit. */
  maxWaiting: number
}

export class Capacity {
  readonly #concurrency: number
  /** How many permits there are. */
  readonly total: number
  readonly #maxWaiting: number
  /** By key: permits whose tasks wait. */
  readonly #waiting = new Map<string, number>()
  readonly #waiters = new FairQueue<Waiter>()
  #running = 0
  #held = 0

  constructor ({ concurrency, maxQueue, maxWaiting }: CapacityOptions) {
    this.#concurrency = concurrency
    this.total = concurrency + maxQueue
    this.#maxWaiting = maxWaiting
  }

  /** How many permits are held. */
  get held (): number { return this.#held }

  /** How many callers wait for a permit. */
  get waiters (): number { return this.#waiters.size }

  /** Returns a permit, or undefined if there is none for this key. Nobody is overtaken: whoever waits waits since there is none for the key. */
  take (key: string): Permit | undefined {
    return this.#admits(key) ? this.#permit(key) : undefined
  }

  /**
   * Resolves to a permit when there is one for this key; keys take turns. Rejects with the signal's reason if the signal aborts first, and
   * with the error of refuseAll(). Returns undefined if too many wait already, by the same threshold as that of the queue.
   */
  wait (key: string, signal: AbortSignal): Promise<Permit> | undefined {
    const permit = this.take(key)
    if (permit !== undefined) return Promise.resolve(permit)
    if (this.#waiters.sizeOf(key) >= this.#maxWaiting - this.#waiters.size) return undefined
    return new Promise((resolve, reject) => {
      const leave = (): void => { signal.removeEventListener('abort', abort) }
      const waiter: Waiter = {
        key,
        list: undefined,
        previous: undefined,
        next: undefined,
        enter: (permit) => { leave(); resolve(permit) },
        refuse: (error) => { leave(); reject(error) }
      }
      const abort = (): void => {
        if (this.#waiters.remove(waiter)) waiter.refuse(signal.reason)
      }
      this.#waiters.push(waiter)
      signal.addEventListener('abort', abort)
    })
  }

  refuseAll (error: unknown): void {
    for (let waiter = this.#waiters.shift(); waiter !== undefined; waiter = this.#waiters.shift()) waiter.refuse(error)
  }

  #permit (key: string): Permit {
    this.#held++
    this.#count(key, 1)
    return new Permit(key, this.#moved)
  }

  readonly #admits = (key: string): boolean => {
    const free = this.total - this.#held
    const idle = this.#concurrency - this.#running
    return free > 0 && (this.#waiting.get(key) ?? 0) < free + idle
  }

  readonly #moved = (key: string, from: State, to: State): void => {
    if (from === 'waiting') this.#count(key, -1)
    else this.#running--
    if (to === 'waiting') this.#count(key, 1)
    else if (to === 'running') this.#running++
    else this.#held--
    if (to === 'running' || this.#waiters.size === 0) return
    for (let waiter = this.#waiters.shift(this.#admits); waiter !== undefined; waiter = this.#waiters.shift(this.#admits)) {
      waiter.enter(this.#permit(waiter.key))
    }
  }

  #count (key: string, by: number): void {
    const count = (this.#waiting.get(key) ?? 0) + by
    if (count === 0) this.#waiting.delete(key)
    else this.#waiting.set(key, count)
  }
}
