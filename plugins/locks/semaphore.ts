/**
 * A weighted semaphore whose waiters are served in the order of their arrival, pure. Every kind of lock is one: a mutex has one permit, a
 * semaphore has n, and of a read-write lock a reader takes one permit and a writer all of them.
 *
 * A newcomer never overtakes a waiter, also if there are permits for the newcomer and not for the waiter. So a writer that waits is not
 * starved by readers that arrive later. Go's x/sync/semaphore does the same.
 */
import { List, type Linked } from '../shared/collections/list.ts'

export interface Waiter extends Linked<Waiter> {
  /** How many permits the waiter needs. */
  readonly weight: number
  /** Called once, when the permits are the waiter's own. */
  grant (): void
}

/** The permits of a lock that may have any number of holders: a reader takes one of them, a writer all. */
export const ALL_PERMITS = 2 ** 30

export class FifoSemaphore {
  readonly permits: number
  #free: number
  readonly #waiters = new List<Waiter>()

  constructor (permits: number) {
    this.permits = permits
    this.#free = permits
  }

  get waiting (): number {
    return this.#waiters.size
  }

  /** Whether nobody holds a permit or waits for one. */
  get isIdle (): boolean {
    return this.#free === this.permits && this.#waiters.size === 0
  }

  /** Takes the permits and returns true, if nobody waits and the permits are free. */
  tryAcquire (weight: number): boolean {
    if (this.#waiters.size > 0 || this.#free < weight) return false
    this.#free -= weight
    return true
  }

  /** Adds a waiter after a tryAcquire() that returned false. */
  enqueue (waiter: Waiter): void {
    this.#waiters.push(waiter)
  }

  /** Takes a waiter out of the queue. Returns false if the waiter isn't in it. */
  leave (waiter: Waiter): boolean {
    if (!this.#waiters.remove(waiter)) return false
    // A writer at the head may have kept readers waiting for which there are permits.
    this.#serve()
    return true
  }

  release (weight: number): void {
    this.#free += weight
    this.#serve()
  }

  #serve (): void {
    for (let next = this.#waiters.first; next !== undefined && next.weight <= this.#free; next = this.#waiters.first) {
      this.#waiters.remove(next)
      this.#free -= next.weight
      next.grant()
    }
  }
}
