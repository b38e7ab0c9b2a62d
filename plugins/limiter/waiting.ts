/** Those who wait for tokens that are reserved for them: how many, and what wakes them before their time. */
import { ClosingError } from '../shared/errors.ts'
import { MAX_DURATION } from '../shared/options.ts'

export class Waiting {
  readonly #maxTotal: number
  readonly #waking = new Set<(error: Error) => void>()
  readonly #perBucket = new Map<string, number>()
  #total = 0
  #closed = false

  constructor (maxTotal: number) {
    this.#maxTotal = maxTotal
  }

  get closed (): boolean {
    return this.#closed
  }

  get total (): number {
    return this.#total
  }

  /** Takes a place, to be left in a `finally`; false if there is none. Before the store is asked, so that a stampede can't pass while it thinks. */
  enter (bucket: string, maxPerBucket: number): boolean {
    const here = this.#perBucket.get(bucket) ?? 0
    if (this.#total >= this.#maxTotal || here >= maxPerBucket) return false
    this.#perBucket.set(bucket, here + 1)
    this.#total++
    return true
  }

  leave (bucket: string): void {
    const here = this.#perBucket.get(bucket)! - 1
    if (here === 0) this.#perBucket.delete(bucket)
    else this.#perBucket.set(bucket, here)
    this.#total--
  }

  /** Resolves after `ms`; rejects with the reason of the first signal that aborts, or FC_ERR_CLOSING. Leaves no timer and no listener behind. */
  async sleep (ms: number, signals: readonly AbortSignal[]): Promise<void> {
    const { promise, resolve, reject } = withResolvers()
    if (this.#closed) throw new ClosingError('The limiter')
    for (const signal of signals) if (signal.aborted) throw signal.reason
    // A timer counts whole ms, cuts off the rest, and may fire one too early: then more would act than the rate allows.
    const timer = setTimeout(resolve, Math.min(Math.ceil(ms) + 1, MAX_DURATION))
    const listeners = signals.map((signal) => {
      const listener = (): void => reject(signal.reason)
      signal.addEventListener('abort', listener, { once: true })
      return () => signal.removeEventListener('abort', listener)
    })
    this.#waking.add(reject)
    try {
      await promise
    } finally {
      clearTimeout(timer)
      this.#waking.delete(reject)
      for (const remove of listeners) remove()
    }
  }

  /** Nobody waits any more, nor will. Idempotent. */
  close (): void {
    this.#closed = true
    for (const reject of this.#waking) reject(new ClosingError('The limiter'))
  }
}

/** Promise.withResolvers, which Node 20 lacks. */
function withResolvers (): { promise: Promise<void>, resolve: () => void, reject: (error: unknown) => void } {
  let resolve!: () => void
  let reject!: (error: unknown) => void
  const promise = new Promise<void>((_resolve, _reject) => {
    resolve = _resolve
    reject = _reject
  })
  return { promise, resolve, reject }
}
