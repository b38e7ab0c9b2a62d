/**
 * A weighted semaphore whose waiters are served in the order of their arrival, pure. Every kind of lock is one: a mutex has one permit, a
 * semaphore has n, and of a read-write lock a reader takes one permit and a writer all of them.
 *
 * A newcomer never overtakes a waiter, also if there are permits for the newcomer and not for the waiter. So a writer that waits is not
 * starved by readers that arrive later. Go's x/sync/semaphore does the same.
 */
export interface Waiter {
  /** How many permits the waiter needs. */
  readonly weight: number
  /** Called once, when the permits are the waiter's own. */
  grant (): void
  /** Its neighbours in the queue, which {@link FifoSemaphore} keeps: a waiter leaves from the middle of many in O(1). */
  previous?: Waiter | undefined
  next?: Waiter | undefined
}

/** The permits of a lock that may have any number of holders: a reader takes one of them, a writer all. */
export const ALL_PERMITS = 2 ** 30

export class FifoSemaphore {
  readonly permits: number
  #free: number
  #first: Waiter | undefined
  #last: Waiter | undefined
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
    waiter.previous = this.#last
    if (this.#last === undefined) this.#first = waiter
    else this.#last.next = waiter
    this.#last = waiter
    this.#waiting++
  }

  /** Takes a waiter out of the queue. Returns false if the waiter isn't in it. */
  leave (waiter: Waiter): boolean {
    if (waiter !== this.#first && waiter.previous === undefined) return false
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
    const { previous, next } = waiter
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    waiter.previous = waiter.next = undefined
    this.#waiting--
  }

  #serve (): void {
    for (let next = this.#first; next !== undefined && next.weight <= this.#free; next = this.#first) {
      this.#remove(next)
      this.#free -= next.weight
      next.grant()
    }
  }
}
