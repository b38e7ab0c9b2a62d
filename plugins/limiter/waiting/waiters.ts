/** The waiters of all buckets: their number is bounded, timers wake them, and waiters that leave give their tokens back. */
import { ClosingError } from '../../shared/errors.ts'
import { MAX_DURATION } from '../../shared/options.ts'
import { after } from '../functions.ts'
import { takeOne, type Charge, type Store } from '../stores/store.ts'
import { WaitQueue, type Slot, type Waiter } from './queue.ts'

/** How a wait ended. */
export interface WaitEnd {
  /** Whether the tokens are the caller's. */
  granted: boolean
  /** If not granted: how many ms the call would have had to wait, or until the lockout ends. */
  wait: number
  lockedOut: boolean
}

const granted: WaitEnd = { granted: true, wait: 0, lockedOut: false }

interface WaitingCall extends Waiter {
  resolve: (end: WaitEnd) => void
  reject: (reason: unknown) => void
}

/** A bucket's queue, with the timer that serves it. */
class BucketQueue extends WaitQueue<WaitingCall> {
  readonly bucket: string
  timer: NodeJS.Timeout | undefined

  constructor (bucket: string) {
    super()
    this.bucket = bucket
  }
}

export interface WaitSettings {
  store: Store
  /** The longest time that the caller may wait, in ms. */
  timeout: number
  /** Each of the signals ends the wait. */
  signals: readonly AbortSignal[]
}

function bucketOf ({ policy, key }: Charge): string {
  return `${policy}\0${key}`
}

export class Waiters {
  readonly #maxTotal: number
  readonly #queues = new Map<string, BucketQueue>()
  #total = 0
  #isClosed = false

  /** @param maxTotal how many calls may wait at once */
  constructor (maxTotal: number) {
    this.#maxTotal = maxTotal
  }

  get total (): number {
    return this.#total
  }

  /** Returns the bound that one more call for the bucket of a charge would exceed, with the number of those that wait; undefined if it may wait. */
  boundMet (charge: Charge, maxPerBucket: number): { waiting: number, limit: number } | undefined {
    if (this.#total >= this.#maxTotal) return { waiting: this.#total, limit: this.#maxTotal }
    const waiting = this.#queues.get(bucketOf(charge))?.waiters.length ?? 0
    return waiting >= maxPerBucket ? { waiting, limit: maxPerBucket } : undefined
  }

  /** Throws FC_ERR_CLOSING after `close`. */
  ensureOpen (): void {
    if (this.#isClosed) throw new ClosingError('The limiter')
  }

  /**
   * Waits for the tokens of a charge. If the wait would take longer than the timeout, or the key is locked out, the call isn't granted and ends
   * at once: no timer has to end it. Rejects with the reason of the first signal that aborts, with FC_ERR_CLOSING, or with the store's error.
   */
  async wait (charge: Charge, { store, timeout, signals }: WaitSettings): Promise<WaitEnd> {
    this.ensureOpen()
    for (const signal of signals) signal.throwIfAborted()
    const bucket = bucketOf(charge)
    const queue = this.#queues.get(bucket) ?? new BucketQueue(bucket)
    this.#queues.set(bucket, queue)
    const listeners: Array<() => void> = []
    // The caller is in the queue before the store is asked, so that a stampede can't pass the bounds while the store thinks.
    this.#total++
    try {
      return await new Promise((resolve, reject) => {
        const waiter: WaitingCall = { cost: charge.cost, due: Infinity, start: { index: 0, used: 0 }, end: { index: 0, used: 0 }, resolve, reject }
        for (const signal of signals) {
          const leave = (): void => this.#leave(queue, waiter, () => reject(signal.reason))
          signal.addEventListener('abort', leave, { once: true })
          listeners.push(() => signal.removeEventListener('abort', leave))
        }
        const now = performance.now()
        queue.add(waiter, now)
        const wait = waiter.due - now
        if (wait === Infinity) void this.#reserve(queue, waiter, charge, store, timeout)
        else if (wait > timeout) this.#leave(queue, waiter, () => resolve({ granted: false, wait, lockedOut: false }))
        else this.#settle(queue)
      })
    } finally {
      this.#total--
      for (const remove of listeners) remove()
    }
  }

  /** Rejects all waiting calls, and all later ones. Idempotent. */
  close (): void {
    this.#isClosed = true
    for (const queue of this.#queues.values()) {
      for (const waiter of [...queue.waiters]) this.#leave(queue, waiter, () => waiter.reject(new ClosingError('The limiter')))
      clearTimeout(queue.timer)
    }
    this.#queues.clear()
  }

  /** Reserves a slot for a waiter. Never rejects. If the waiter has left meanwhile, its slot goes to the waiters behind it. */
  async #reserve (queue: BucketQueue, waiter: WaitingCall, charge: Charge, store: Store, timeout: number): Promise<void> {
    try {
      const { granted, wait, lockedOut, at, store: holder } = await takeOne(store, charge, timeout)
      if (!granted) return this.#leave(queue, waiter, () => waiter.resolve({ granted, wait, lockedOut }))
      queue.addSlot({ charge, store: holder, actsAt: at + wait, due: performance.now() + wait, tokens: charge.cost, isKept: false })
      this.#settle(queue)
    } catch (error) {
      this.#leave(queue, waiter, () => waiter.reject(error))
    }
  }

  #leave (queue: BucketQueue, waiter: WaitingCall, end: () => void): void {
    if (!queue.remove(waiter, performance.now())) return
    this.#settle(queue)
    end()
  }

  /** Wakes the waiters whose tokens are there, gives back tokens that nobody needs, and sets the timer for the next waiter. */
  #settle (queue: BucketQueue): void {
    for (const waiter of queue.serve(performance.now())) waiter.resolve(granted)
    for (const slot of queue.spare()) this.#giveBack(queue, slot)
    clearTimeout(queue.timer)
    const { next, bucket } = queue
    if (queue.isEmpty && this.#queues.get(bucket) === queue) this.#queues.delete(bucket)
    if (next === undefined) return
    // A timer may fire too early by part of a millisecond: then nobody is served, and the timer is set again.
    queue.timer = setTimeout(() => this.#settle(queue), Math.min(Math.max(1, Math.ceil(next - performance.now())), MAX_DURATION))
    if (queue.waiters.length === 0) queue.timer.unref()
  }

  #giveBack (queue: BucketQueue, slot: Slot): void {
    void after(slot.store?.giveBack({ ...slot.charge, cost: slot.tokens }, slot.actsAt) ?? 0, (restored) => {
      if (restored > 0 || this.#isClosed) return
      queue.addSlot({ ...slot, isKept: true })
      this.#settle(queue)
    })
  }
}
