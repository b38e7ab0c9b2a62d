/** Those who wait for tokens, of all buckets: how many may, what wakes them, and what becomes of their tokens if they leave. */
import { ClosingError } from '../shared/errors.ts'
import { MAX_DURATION } from '../shared/options.ts'
import { after } from './maybe.ts'
import type { Demand, Store } from './stores/store.ts'
import { WaitQueue, type Slot, type Waiter } from './wait-queue.ts'

interface Waiting extends Waiter {
  resolve: (wait: number) => void
  reject: (reason: unknown) => void
}

interface Line {
  readonly bucket: string
  readonly queue: WaitQueue<Waiting>
  timer: NodeJS.Timeout | undefined
}

export interface WaitSettings {
  store: Store
  /** How many ms it may wait at most. */
  timeout: number
  /** Each ends the wait. */
  signals: readonly AbortSignal[]
}

export class Waiters {
  readonly #maxTotal: number
  readonly #lines = new Map<string, Line>()
  #total = 0
  #isClosed = false

  /** @param maxTotal how many may wait at once */
  constructor (maxTotal: number) {
    this.#maxTotal = maxTotal
  }

  get total (): number {
    return this.#total
  }

  /** Returns whether one more may wait for a bucket. */
  hasRoom (bucket: string, maxPerBucket: number): boolean {
    return this.#total < this.#maxTotal && (this.#lines.get(bucket)?.queue.waiters.length ?? 0) < maxPerBucket
  }

  /** Throws FC_ERR_CLOSING once nobody may wait any more. */
  ensureOpen (): void {
    if (this.#isClosed) throw new ClosingError('The limiter')
  }

  /**
   * Waits for tokens. Resolves to 0 when they are the caller's own, or at once to how many ms that would take if it is more than the timeout.
   * Rejects with the reason of the first signal that aborts, with FC_ERR_CLOSING, or with the store's error. Leaves no listener behind.
   */
  async wait (bucket: string, demand: Demand, { store, timeout, signals }: WaitSettings): Promise<number> {
    this.ensureOpen()
    for (const signal of signals) signal.throwIfAborted()
    const line = this.#lineOf(bucket)
    const { promise, resolve, reject } = withResolvers<number>()
    const waiter: Waiting = { cost: demand.cost, due: Infinity, end: { index: 0, used: 0 }, resolve, reject }
    const listeners = signals.map((signal) => {
      const listener = (): void => this.#leave(line, waiter, () => reject(signal.reason))
      signal.addEventListener('abort', listener, { once: true })
      return () => signal.removeEventListener('abort', listener)
    })
    // In the queue before the store is asked, so that a stampede can't pass the bounds while the store thinks.
    this.#total++
    line.queue.add(waiter)
    const wait = waiter.due - performance.now()
    if (wait === Infinity) void this.#reserve(line, waiter, demand, store, timeout)
    else if (wait > timeout) this.#leave(line, waiter, () => resolve(wait))
    else this.#settle(line)
    try {
      return await promise
    } finally {
      this.#total--
      for (const remove of listeners) remove()
    }
  }

  /** Nobody waits any more, nor will. Idempotent. */
  close (): void {
    this.#isClosed = true
    for (const line of this.#lines.values()) {
      for (const waiter of [...line.queue.waiters]) this.#leave(line, waiter, () => waiter.reject(new ClosingError('The limiter')))
    }
  }

  #lineOf (bucket: string): Line {
    let line = this.#lines.get(bucket)
    if (line === undefined) this.#lines.set(bucket, line = { bucket, queue: new WaitQueue(), timer: undefined })
    return line
  }

  /** Never rejects. A waiter that has left meanwhile leaves its slot to those behind it. */
  async #reserve (line: Line, waiter: Waiting, demand: Demand, store: Store, timeout: number): Promise<void> {
    try {
      const { granted, outcomes: [outcome], at, store: holder } = await store.take([demand], timeout)
      const { wait } = outcome!
      if (!granted) return this.#leave(line, waiter, () => waiter.resolve(wait))
      line.queue.addSlot({ demand, store: holder, actsAt: at + wait, due: performance.now() + wait, tokens: demand.cost, isKept: false })
      this.#settle(line)
    } catch (error) {
      this.#leave(line, waiter, () => waiter.reject(error))
    }
  }

  #leave (line: Line, waiter: Waiting, end: () => void): void {
    if (!line.queue.remove(waiter)) return
    this.#settle(line)
    end()
  }

  /** Wakes those whose tokens are there, gives back what nobody needs, and sees to it that it is called again in time. */
  #settle (line: Line): void {
    const { bucket, queue } = line
    for (const waiter of queue.serve(performance.now())) waiter.resolve(0)
    for (const slot of queue.spare()) this.#giveBack(line, slot)
    clearTimeout(line.timer)
    const { next } = queue
    if (next !== undefined) {
      // The timer may fire too early by part of a millisecond: then nobody is served, and the timer is set again.
      line.timer = setTimeout(() => this.#settle(line), Math.min(Math.max(1, Math.ceil(next - performance.now())), MAX_DURATION))
      if (queue.waiters.length === 0) line.timer.unref()
    } else if (queue.waiters.length === 0 && this.#lines.get(bucket) === line) {
      this.#lines.delete(bucket)
    }
  }

  #giveBack (line: Line, slot: Slot): void {
    void after(slot.store?.giveBack({ ...slot.demand, cost: slot.tokens }, slot.actsAt) ?? 0, (restored) => {
      if (restored > 0 || this.#isClosed) return
      line.queue.addSlot({ ...slot, isKept: true })
      this.#settle(line)
    })
  }
}

/** Promise.withResolvers, which Node 20 lacks. */
function withResolvers<T> (): { promise: Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void } {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((_resolve, _reject) => {
    resolve = _resolve
    reject = _reject
  })
  return { promise, resolve, reject }
}
