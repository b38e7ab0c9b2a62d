/**
 * A remote store with a local store in its place while the remote store is away: a circuit breaker.
 *
 * No decision takes longer than `timeout`, whatever the client's own retries and queues do. After a failure, no decision asks the remote
 * store until a probe succeeds, so an outage costs one slow decision instead of one for each request. A probe is a real decision on a key of
 * its own, because a server that is loading, read-only or out of memory still answers a ping. Only traffic causes probes.
 */
import { LimiterStoreError } from '../../shared/errors.ts'
import { asError } from '../functions.ts'
import type { Reserved, Taken } from './bucket.ts'
import type { Balance, Charge, Clock, Decision, Store } from './store.ts'
import { Turn } from './turn.ts'

/** The time between two probes, in ms. */
const PROBE_EVERY = 250
/** The time, in ms, after which another probe is sent although one is unanswered. A client that is reconnecting keeps probes in its queue, so this bounds the queue. */
const PROBE_LOST = 5_000
const probe: Charge = { policy: '№ probe of the store', key: '', rate: 1000, burst: 1, cost: 1, onStoreError: 'open' }

export interface FallbackOptions {
  /** How many ms a decision may take. */
  timeout: number
  clock: Clock
  /** Called when the store fails; not again before `onRecovered`. */
  onFailed: (error: Error) => void
  /** Called when the store answers again, with the time for which it was away, in ms. */
  onRecovered: (durationMs: number) => void
}

export class FallbackStore implements Store {
  readonly #remote: Store
  readonly #local: Store
  readonly #options: FallbackOptions
  #failedAt: number | undefined
  #failure: unknown
  #probedAt = -Infinity
  #probing = false
  #turn: Turn | undefined

  constructor (remote: Store, local: Store, options: FallbackOptions) {
    this.#remote = remote
    this.#local = local
    this.#options = options
  }

  async take<C extends Charge> (charges: readonly C[], maxWait: number): Promise<Decision<C>> {
    if (this.#failedAt === undefined) {
      try {
        return { ...await this.#bound(this.#remote.take(charges, maxWait)), store: this }
      } catch (error) {
        this.#fail(asError(error))
      }
    } else {
      this.#probe()
    }
    return this.#decide(charges, maxWait)
  }

  /** Does nothing while the store is away. Tokens that the store can't take back are refilled in time anyway. */
  async giveBack (charge: Charge, reserved: Reserved): Promise<void> {
    await this.#restore(() => this.#remote.giveBack(charge, reserved))
  }

  /** As giveBack(). */
  async refund (charge: Charge, taken: Taken): Promise<void> {
    await this.#restore(() => this.#remote.refund(charge, taken))
  }

  async #restore (restore: () => void | Promise<void>): Promise<void> {
    if (this.#failedAt !== undefined) return
    try {
      // A command that is late may still run, from the client's queue: then it takes too many tokens, never too few.
      await this.#bound(restore())
    } catch (error) {
      this.#fail(asError(error))
    }
  }

  #bound<T> (operation: T | Promise<T>): Promise<T> {
    this.#turn ??= new Turn(this.#options.timeout, () => { this.#turn = undefined })
    return this.#turn.bound(operation)
  }

  /** Decides without the remote store, for each policy as its `onStoreError` says. */
  async #decide<C extends Charge> (charges: readonly C[], maxWait: number): Promise<Decision<C>> {
    const closed = charges.find(({ onStoreError }) => onStoreError === 'closed')
    if (closed !== undefined) throw new LimiterStoreError(closed.policy, { cause: this.#failure })
    const local = charges.filter(({ onStoreError }) => onStoreError === 'local')
    const decision = await this.#local.take(local, maxWait)
    if (local.length === charges.length) return decision
    const byCharge = new Map(decision.balances.map((balance) => [balance.charge, balance]))
    const balances = charges.map((charge): Balance<C> => byCharge.get(charge) ?? { charge, tokens: charge.burst, wait: 0, lockedOut: false })
    return { ...decision, balances, store: local.length > 0 ? decision.store : undefined }
  }

  #probe (): void {
    const { clock, timeout } = this.#options
    const now = clock.now()
    if (now - this.#probedAt < (this.#probing ? PROBE_LOST : PROBE_EVERY)) return
    this.#probedAt = now
    this.#probing = true
    Promise.resolve(this.#remote.take([probe], 0)).then(() => {
      this.#probing = false
      // A decision would not have waited for a late answer, so a late answer is no recovery.
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
}
