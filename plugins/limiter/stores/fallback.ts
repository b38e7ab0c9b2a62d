/**
 * A store that may go away, and what is decided meanwhile.
 *
 * No decision takes longer than `timeout`, whatever the client's own retries and queues do. After a failure the store is left alone
 * until a probe succeeds, so that an outage costs one slow decision, not one a request. A probe is a real decision on a key of its own,
 * since a server that is loading, read-only or out of memory still answers a ping. Probes are made by traffic: an idle app asks nothing.
 */
import type { Clock } from '../../shared/clock.ts'
import { LimiterStoreError } from '../../shared/errors.ts'
import type { Demand, Outcome, Store, Verdict } from './store.ts'

/** How many ms between two probes. */
const PROBE_EVERY = 250
/** A client that is reconnecting keeps a probe in its queue: don't add to it, unless the answer seems lost. */
const PROBE_LOST = 5_000
const probe: Demand = { policy: '№ probe of the store', key: '', rate: 1000, burst: 1, cost: 1, onStoreError: 'open' }

export interface FallbackOptions {
  /** How many ms a decision may take. */
  timeout: number
  clock: Clock
  /** The store was there and has failed. Called once, until `onRecovered`. */
  onFailed: (error: Error) => void
  /** The store is back after so many ms. */
  onRecovered: (afterMs: number) => void
}

export class FallbackStore implements Store {
  readonly #remote: Store
  readonly #local: Store
  readonly #options: FallbackOptions
  #failedAt: number | undefined
  #failure: unknown
  #probedAt = -Infinity
  #probing = false

  constructor (remote: Store, local: Store, options: FallbackOptions) {
    this.#remote = remote
    this.#local = local
    this.#options = options
  }

  async take (demands: readonly Demand[], maxWait: number): Promise<Verdict> {
    if (this.#failedAt === undefined) {
      try {
        return { ...await this.#within(this.#remote.take(demands, maxWait)), store: this }
      } catch (error) {
        this.#fail(error as Error)
      }
    } else {
      this.#probe()
    }
    return this.#decide(demands, maxWait)
  }

  /** Tokens that a store which is away can't take back are refilled in time anyway. */
  async giveBack (demand: Demand, actsAt: number): Promise<number> {
    if (this.#failedAt !== undefined) return 0
    try {
      return await this.#within(this.#remote.giveBack(demand, actsAt))
    } catch (error) {
      this.#fail(error as Error)
      return 0
    }
  }

  /** Each policy in its own way: one that is closed refuses, those that are open ask for nothing. */
  async #decide (demands: readonly Demand[], maxWait: number): Promise<Verdict> {
    const closed = demands.find(({ onStoreError }) => onStoreError === 'closed')
    if (closed !== undefined) throw new LimiterStoreError(closed.policy, { cause: this.#failure })
    const local = demands.filter(({ onStoreError }) => onStoreError === 'local')
    if (local.length === demands.length) return this.#local.take(demands, maxWait)
    const verdict = await this.#local.take(local, maxWait)
    const decided = verdict.outcomes.values()
    const outcomes = demands.map(({ onStoreError, burst }): Outcome =>
      onStoreError === 'local' ? decided.next().value! : { tokens: burst, wait: 0 })
    return { ...verdict, outcomes, store: local.length > 0 ? verdict.store : undefined }
  }

  #probe (): void {
    const { clock, timeout } = this.#options
    const now = clock.now()
    if (now - this.#probedAt < (this.#probing ? PROBE_LOST : PROBE_EVERY)) return
    this.#probedAt = now
    this.#probing = true
    Promise.resolve(this.#remote.take([probe], 0)).then(() => {
      this.#probing = false
      // An answer that a decision wouldn't have waited for is no recovery.
      if (clock.now() - now <= timeout) this.#recover()
    }, () => { this.#probing = false })
  }

  #fail (error: Error): void {
    this.#failure = error
    if (this.#failedAt !== undefined) return
    this.#failedAt = this.#probedAt = this.#options.clock.now()
    this.#options.onFailed(error)
  }

  #recover (): void {
    if (this.#failedAt === undefined) return
    const after = this.#options.clock.now() - this.#failedAt
    this.#failedAt = undefined
    this.#options.onRecovered(after)
  }

  /** A command given up here may still run later, from the client's own queue: it takes tokens too many, never too few. */
  #within<T> (operation: T | Promise<T>): Promise<T> {
    const { timeout } = this.#options
    return new Promise((resolve, reject) => {
      const late = (): void => reject(new Error(`The store took longer than ${timeout} ms`))
      // After a stall of our own event loop, timers fire before the reply that has long arrived is read: let it be read first.
      const timer = setTimeout(() => setImmediate(late), timeout)
      Promise.resolve(operation).then((value) => {
        clearTimeout(timer)
        resolve(value)
      }, (error: Error) => {
        clearTimeout(timer)
        reject(error)
      })
    })
  }
}
