/** The waiters of all buckets: their number is bounded, timers wake them, and waiters that leave give their tokens back. */
import { ClosingError } from '../../shared/errors.ts'
import { MAX_DURATION } from '../../shared/options.ts'
import { after } from '../functions.ts'
import { takeOne, type Charge, type Store } from '../stores/store.ts'
import { WaitQueue, type Slot, type Waiter } from './queue.ts'

interface WaitingCall extends Waiter {
  /** End the wait: see `Waiters.wait`. */
  resolve: (wait: number) => void
  reject: (reason: unknown) => void
}

/** A bucket's queue, with the timer that serves it. */
class Line extends WaitQueue<WaitingCall> {
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
  readonly #lines = new Map<string, Line>()
  #total = 0
  #isClosed = false

  /** @param maxTotal how many calls may wait at once */
  constructor (maxTotal: number) {
    this.#maxTotal = maxTotal
  }

  get total (): number {
    return this.#total
  }

  /** Reports whether one more call may wait for the bucket of a charge. */
  hasRoom (charge: Charge, maxPerBucket: number): boolean {
    return this.#total < this.#maxTotal && (this.#lines.get(bucketOf(charge))?.waiters.length ?? 0) < maxPerBucket
  }

  /** Throws FC_ERR_CLOSING after `close`. */
  ensureOpen (): void {
    if (this.#isClosed) throw new ClosingError('The limiter')
  }

  /**
   * Waits for the tokens of a charge. Resolves to 0 when the tokens belong to the caller. If the wait would take longer than the timeout, or
   * the key is locked out, resolves at once to that time in ms. Rejects with the reason of the first signal that aborts, with FC_ERR_CLOSING,
   * or with the store's error.
   */
  async wait (charge: Charge, { store, timeout, signals }: WaitSettings): Promise<number> {
    this.ensureOpen()
    for (const signal of signals) signal.throwIfAborted()
    const bucket = bucketOf(charge)
    const line = this.#lines.get(bucket) ?? new Line(bucket)
    this.#lines.set(bucket, line)
    const listeners: Array<() => void> = []
    // The caller is in the queue before the store is asked, so that a stampede can't pass the bounds while the store thinks.
    this.#total++
    try {
      return await new Promise((resolve, reject) => {
        const waiter: WaitingCall = { cost: charge.cost, due: Infinity, end: { index: 0, used: 0 }, resolve, reject }
        for (const signal of signals) {
          const leave = (): void => this.#leave(line, waiter, () => reject(signal.reason))
          signal.addEventListener('abort', leave, { once: true })
          listeners.push(() => signal.removeEventListener('abort', leave))
        }
        line.add(waiter)
        const wait = waiter.due - performance.now()
        if (wait === Infinity) void this.#reserve(line, waiter, charge, store, timeout)
        else if (wait > timeout) this.#leave(line, waiter, () => resolve(wait))
        else this.#settle(line)
      })
    } finally {
      this.#total--
      for (const remove of listeners) remove()
    }
  }

  /** Rejects all waiting calls, and all later ones. Idempotent. */
  close (): void {
    this.#isClosed = true
    for (const line of this.#lines.values()) {
      for (const waiter of [...line.waiters]) this.#leave(line, waiter, () => waiter.reject(new ClosingError('The limiter')))
      clearTimeout(line.timer)
    }
    this.#lines.clear()
  }

  /** Reserves a slot for a waiter. Never rejects. If the waiter has left meanwhile, its slot goes to the waiters behind it. */
  async #reserve (line: Line, waiter: WaitingCall, charge: Charge, store: Store, timeout: number): Promise<void> {
    try {
      const { granted, wait, at, store: holder } = await takeOne(store, charge, timeout)
      if (!granted) return this.#leave(line, waiter, () => waiter.resolve(wait))
      line.addSlot({ charge, store: holder, actsAt: at + wait, due: performance.now() + wait, tokens: charge.cost, isKept: false })
      this.#settle(line)
    } catch (error) {
      this.#leave(line, waiter, () => waiter.reject(error))
    }
  }

  #leave (line: Line, waiter: WaitingCall, end: () => void): void {
    if (!line.remove(waiter)) return
    this.#settle(line)
    end()
  }

  /** Wakes the waiters whose tokens are there, gives back tokens that nobody needs, and sets the timer for the next waiter. */
  #settle (line: Line): void {
    for (const waiter of line.serve(performance.now())) waiter.resolve(0)
    for (const slot of line.spare()) this.#giveBack(line, slot)
    clearTimeout(line.timer)
    const { next, bucket } = line
    if (line.isEmpty && this.#lines.get(bucket) === line) this.#lines.delete(bucket)
    if (next === undefined) return
    // A timer may fire too early by part of a millisecond: then nobody is served, and the timer is set again.
    line.timer = setTimeout(() => this.#settle(line), Math.min(Math.max(1, Math.ceil(next - performance.now())), MAX_DURATION))
    if (line.waiters.length === 0) line.timer.unref()
  }

  #giveBack (line: Line, slot: Slot): void {
    void after(slot.store?.giveBack({ ...slot.charge, cost: slot.tokens }, slot.actsAt) ?? 0, (restored) => {
      if (restored > 0 || this.#isClosed) return
      line.addSlot({ ...slot, isKept: true })
      this.#settle(line)
    })
  }
}
