/**
 * A weighted semaphore whose waiters are served in the order of their arrival, pure. Every kind of lock is one: a mutex has one permit, a
 * semaphore has n, and of a read-write lock a reader takes one permit and a writer all of them.
 *
 * A newcomer never overtakes a waiter, also if there are permits for the newcomer and not for the waiter. So a writer that waits is not
 * starved by readers that arrive later. Go's x/sync/semaphore does the same.
 */
import { Link, LinkedList } from '../core/line/linked-list.ts'

export interface Waiter {
  /** How many permits the waiter needs. */
  readonly weight: number
  /** Called once, when the permits are the waiter's own. */
  grant (): void
  /** Belongs to the semaphore, while the waiter waits. */
  link?: Link<Waiter> | undefined
}

/** The permits of a lock that may have any number of holders: a reader takes one of them, a writer all. */
export const ALL_PERMITS = 2 ** 30

export class FifoSemaphore {
  readonly permits: number
  #free: number
  readonly #waiters = new LinkedList<Waiter>()
  #waiting = 0

  constructor (permits: number) {
    this.permits = permits
    this.#free = permits
  }

  get waiting (): number {
    return this.#waiting
  }

  /** Whether nobody holds a permit or waits for one. */
  get isIdle (): boolean {
    return this.#free === this.permits && this.#waiting === 0
  }

  /** Takes the permits and returns true, if nobody waits and the permits are free. */
  tryAcquire (weight: number): boolean {
    if (this.#waiting > 0 || this.#free < weight) return false
    this.#free -= weight
    return true
  }

  /** Adds a waiter after a tryAcquire() that returned false. */
  enqueue (waiter: Waiter): void {
    this.#waiters.append(waiter.link = new Link(waiter))
    this.#waiting++
  }

  /** Takes a waiter out of the queue. Returns false if the waiter isn't in it. */
  leave (waiter: Waiter): boolean {
    if (waiter.link === undefined) return false
    this.#remove(waiter)
    // A writer at the head may have kept readers waiting for which there are permits.
    this.#serve()
    return true
  }

  release (weight: number): void {
    this.#free += weight
    this.#serve()
  }

  #remove (waiter: Waiter): void {
    waiter.link?.remove()
    waiter.link = undefined
    this.#waiting--
  }

  #serve (): void {
    for (let next = this.#waiters.first; next !== undefined && next.weight <= this.#free; next = this.#waiters.first) {
      this.#remove(next)
      this.#free -= next.weight
      next.grant()
    }
  }
}
