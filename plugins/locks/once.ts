/** Once runs an initialisation once, however many callers need its result. */
import { outsideRequest } from '../cancellation/index.ts'
import { LockQueueFullError } from '../shared/errors.ts'
import { Hold } from './hold.ts'
import type { Wait } from './options.ts'
import { ALL_PERMITS } from './semaphore.ts'
import type { LockTable } from './table.ts'

type Outcome = { readonly value: unknown } | { readonly error: unknown }

interface Flight {
  /** Undefined while the function runs. */
  outcome?: Outcome
}

/** Runs each initialisation once. Its function holds all permits of the lock, like a writer; callers take one each, like readers, once it has ended. */
export class Once {
  readonly #table: LockTable
  readonly #maxKeys: number
  readonly #flights = new Map<string, Flight>()

  /** @param maxKeys how many results are remembered */
  constructor (table: LockTable, maxKeys: number) {
    this.#table = table
    this.#maxKeys = maxKeys
  }

  /** Forgets a result. Callers that wait already still receive the result. */
  forget (key: string): void {
    this.#flights.delete(key)
  }

  /**
   * Resolves to the result of the function that runs or ran for the key; `fn` is called if there is none. A failure is not remembered: callers
   * that wait for the function have its error, and the next one calls its own.
   *
   * @param hold the caller's
   */
  async run (hold: Hold, fn: () => unknown, wait: Wait): Promise<unknown> {
    const { key } = hold
    let flight = this.#flights.get(key)
    if (flight === undefined) {
      if (this.#flights.size >= this.#maxKeys) throw new LockQueueFullError('once', key, this.#maxKeys)
      this.#flights.set(key, flight = {})
      // Not within the request of the first caller: that client may leave, and others still need the result.
      void outsideRequest(async () => this.#fly(key, flight as Flight, fn))
    }
    if (flight.outcome === undefined) {
      await this.#table.acquire(hold, ALL_PERMITS, wait)
      this.#table.release(hold)
    }
    const outcome = flight.outcome as Outcome
    if ('error' in outcome) throw outcome.error
    return outcome.value
  }

  /** Never rejects. */
  async #fly (key: string, flight: Flight, fn: () => unknown): Promise<void> {
    const hold = new Hold('once', key, ALL_PERMITS, undefined, this.run)
    try {
      await this.#table.acquire(hold, ALL_PERMITS, { timeout: Infinity, signals: [] })
      flight.outcome = { value: await fn() }
    } catch (error) {
      flight.outcome = { error }
      if (this.#flights.get(key) === flight) this.#flights.delete(key)
    }
    this.#table.release(hold)
  }
}
