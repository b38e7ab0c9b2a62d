/**
 * The callers that wait for tokens, in one queue for each bucket. Their number is bounded, and waiters that leave give their tokens back.
 *
 * Only the first waiter of a queue has a reservation in the store. Once the first waiter is served, refused or gone, the next one asks the store.
 * So each waiter depends on the store's decision for that waiter, or on a timer, and on nothing else. When the first waiter leaves, its reservation
 * serves the next one if that one costs the same. Otherwise the reservation is given back.
 *
 * What this costs: a process knows only its own waiters. Of the callers in n processes on one Redis, up to n times as many wait as can be served
 * in time, and the others are refused when their timeout is over, in place of at once. And the waiters of a key ask one after the other, so that
 * each round trip to the store grants one wait at most.
 */
import { ClosingError } from '../../shared/errors.ts'
import { MAX_DURATION } from '../../shared/options.ts'
import { takeOne, type Charge, type SingleDecision, type Store } from '../stores/store.ts'

/** How long after its arrival a call waits at least while the store is asked, in ms. Otherwise no answer would be in time for a timeout of 0. */
const ANSWER_TIMEOUT_MS = 100

/** How a wait ended. */
export interface WaitEnd {
  /** Whether the tokens are the caller's. */
  readonly granted: boolean
  /** If not granted: how many ms the call would have had to wait, or until the lockout ends. */
  readonly wait: number
  readonly lockedOut: boolean
  /** The bound that the call met, if it was not allowed to wait: how many calls waited, and how many may. */
  readonly bound?: { waiting: number, limit: number }
}

export interface WaitSettings {
  store: Store
  /** The longest time that the caller may wait, in ms. */
  timeout: number
  /** How many calls may wait for the bucket. */
  maxWaiting: number
  /** Each of the signals ends the wait. */
  signals: readonly AbortSignal[]
}

/** A call that waits. */
interface Waiter {
  readonly charge: Charge
  readonly store: Store
  readonly timeout: number
  /** When the call came, in ms of this process's clock. */
  readonly since: number
  /** Fires when the waiter has waited long enough, or when its tokens are there. */
  timer: NodeJS.Timeout | undefined
  readonly resolve: (end: WaitEnd) => void
  readonly reject: (reason: unknown) => void
}

/** A reservation in the store. */
interface Reservation extends SingleDecision {
  /** When the tokens are there, in ms of this process's clock. Never too early, because the clock is read after the decision. */
  readonly due: number
}

/** Returns when a waiter has waited long enough, in ms of this process's clock: to the millisecond, as precise as a timer is. */
function deadlineOf ({ since, timeout }: Waiter): number {
  return since + timeout + 1
}

/** The waiters of one bucket, first come, first served. */
class Queue {
  readonly bucket: string
  readonly waiters: Waiter[] = []
  /** The sum of the costs of the waiters. */
  cost = 0
  /** Whether the store is deciding on the first waiter, or on a waiter that was the first and has left. */
  isAsking = false
  /** The tokens of the first waiter. */
  reservation: Reservation | undefined

  constructor (bucket: string) {
    this.bucket = bucket
  }

  add (waiter: Waiter): void {
    this.waiters.push(waiter)
    this.cost += waiter.charge.cost
  }

  /** Returns the waiter's place, from 0; -1 if the waiter was not in the queue. */
  remove (waiter: Waiter): number {
    const place = this.waiters.indexOf(waiter)
    if (place === -1) return place
    this.waiters.splice(place, 1)
    this.cost -= waiter.charge.cost
    clearTimeout(waiter.timer)
    return place
  }

  /** Returns how many ms one more waiter would wait at least, if nobody leaves. */
  waitOf ({ rate, burst, cost }: Charge, now: number): number {
    const [first] = this.waiters
    const tokens = this.cost + cost
    // Before the store has decided on the first waiter, the bucket may be full.
    if (first === undefined || this.reservation === undefined) return Math.max(0, tokens - burst) * 1000 / rate
    return Math.max(0, this.reservation.due - now) + (tokens - first.charge.cost) * 1000 / rate
  }
}

export class Waiters {
  readonly #maxTotal: number
  readonly #queues = new Map<string, Queue>()
  #total = 0
  #isClosed = false

  /** @param maxTotal how many calls may wait at once */
  constructor (maxTotal: number) {
    this.#maxTotal = maxTotal
  }

  get total (): number {
    return this.#total
  }

  /** Buckets for which calls wait. No other bucket is remembered. */
  get buckets (): number {
    return this.#queues.size
  }

  /** Throws FC_ERR_CLOSING after `close`. */
  ensureOpen (): void {
    if (this.#isClosed) throw new ClosingError('The limiter')
  }

  /**
   * Waits for the tokens of a charge. The call isn't granted, and ends at once, if the wait is known to take longer than the timeout, if the key is
   * locked out, or if too many wait already and the tokens aren't there. Otherwise it ends within its timeout. Rejects with the reason of the first
   * signal that aborts, with FC_ERR_CLOSING, or with the store's error.
   */
  async wait (charge: Charge, { store, timeout, maxWaiting, signals }: WaitSettings): Promise<WaitEnd> {
    this.ensureOpen()
    for (const signal of signals) signal.throwIfAborted()
    const bucket = `${charge.policy}\0${charge.key}`
    const queue = this.#queues.get(bucket) ?? new Queue(bucket)
    const since = performance.now()
    const wait = queue.waitOf(charge, since)
    const waiting = queue.waiters.length
    if (this.#total >= this.#maxTotal || waiting >= maxWaiting) {
      const bound = this.#total >= this.#maxTotal ? { waiting: this.#total, limit: this.#maxTotal } : { waiting, limit: maxWaiting }
      // Nobody overtakes those who wait.
      return waiting > 0 ? { granted: false, wait, lockedOut: false, bound } : { ...await takeOne(store, charge, 0), bound }
    }
    if (wait > timeout) return { granted: false, wait, lockedOut: false }
    const listeners: Array<() => void> = []
    this.#queues.set(bucket, queue)
    this.#total++
    try {
      return await new Promise((resolve, reject) => {
        const waiter: Waiter = { charge, store, timeout, since, timer: undefined, resolve, reject }
        for (const signal of signals) {
          const leave = (): void => this.#leave(queue, waiter, () => reject(signal.reason))
          signal.addEventListener('abort', leave, { once: true })
          listeners.push(() => signal.removeEventListener('abort', leave))
        }
        queue.add(waiter)
        waiter.timer = setTimeout(() => this.#expire(queue, waiter), timeout)
        this.#next(queue)
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
      // The last one first, so that none of them becomes the first and asks the store.
      for (const waiter of queue.waiters.toReversed()) this.#leave(queue, waiter, () => waiter.reject(new ClosingError('The limiter')))
    }
  }

  /** Serves the first waiters as far as their tokens are there. For the next one, asks the store or sets the timer. */
  #next (queue: Queue): void {
    while (!queue.isAsking) {
      const { waiters: [first], reservation } = queue
      if (reservation === undefined) {
        if (first !== undefined) void this.#ask(queue, first)
        else this.#queues.delete(queue.bucket)
        return
      }
      const now = performance.now()
      if (reservation.charge.cost !== first?.charge.cost) {
        queue.reservation = undefined
        const { charge, store, due } = reservation
        // Tokens that are there already are given back as unused ones: a reservation whose time has passed would count as used.
        void (due <= now ? store?.refund(charge, reservation) : store?.giveBack(charge, reservation))
      } else if (reservation.due <= now) {
        queue.reservation = undefined
        queue.remove(first)
        first.resolve({ granted: true, wait: 0, lockedOut: false })
      } else if (reservation.due > deadlineOf(first)) {
        queue.remove(first)
        first.resolve({ granted: false, wait: reservation.due - first.since, lockedOut: false })
      } else {
        clearTimeout(first.timer)
        // A timer may fire too early by part of a millisecond: then nobody is served, and the timer is set again.
        first.timer = setTimeout(() => this.#next(queue), Math.min(Math.ceil(reservation.due - now), MAX_DURATION))
        return
      }
    }
  }

  /** Asks the store for the first waiter's tokens. Never rejects. If the waiter leaves meanwhile, the reservation is the queue's. */
  async #ask (queue: Queue, waiter: Waiter): Promise<void> {
    queue.isAsking = true
    const { charge, store } = waiter
    const now = performance.now()
    try {
      const decision = await takeOne(store, charge, Math.max(0, deadlineOf(waiter) - now))
      const { granted, wait, lockedOut } = decision
      if (granted) this.#reserve(queue, { ...decision, due: performance.now() + wait })
      else if (queue.remove(waiter) !== -1) waiter.resolve({ granted, wait: lockedOut ? wait : now - waiter.since + wait, lockedOut })
    } catch (error) {
      if (queue.remove(waiter) !== -1) waiter.reject(error)
    }
    queue.isAsking = false
    this.#next(queue)
  }

  /** Keeps the reservation of the first waiter, and refuses the waiters behind it that can't be served in time now. */
  #reserve (queue: Queue, reservation: Reservation): void {
    queue.reservation = reservation
    // Tokens that were there may be followed by more of them.
    if (reservation.wait === 0) return
    let { due } = reservation
    const [, ...others] = queue.waiters
    for (const waiter of others) {
      const { cost, rate } = waiter.charge
      const later = due + cost * 1000 / rate
      if (later <= deadlineOf(waiter)) due = later
      else this.#leave(queue, waiter, () => waiter.resolve({ granted: false, wait: later - waiter.since, lockedOut: false }))
    }
  }

  /** Refuses a waiter that has waited for its timeout. */
  #expire (queue: Queue, waiter: Waiter): void {
    const now = performance.now()
    const left = waiter.since + ANSWER_TIMEOUT_MS - now
    if (queue.isAsking && left > 0) {
      waiter.timer = setTimeout(() => this.#expire(queue, waiter), left)
      return
    }
    this.#leave(queue, waiter, () => {
      waiter.resolve({ granted: false, wait: now - waiter.since + queue.waitOf(waiter.charge, now), lockedOut: false })
    })
  }

  #leave (queue: Queue, waiter: Waiter, end: () => void): void {
    const place = queue.remove(waiter)
    if (place === -1) return
    end()
    if (place === 0) this.#next(queue)
  }
}
