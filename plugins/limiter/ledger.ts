/** The ledger of the limiter: what its decisions are counted as, and what is published and logged of them. It decides nothing. */
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { originOf } from '../cancellation/origin.ts'
import { countsOf, type BoundView, type Counts } from '../core/ledger/counts.ts'
import type { LimitBusyError } from '../shared/errors.ts'
import { logSafely } from '../shared/log.ts'
import { busy, defined, granted, refused, storeFailed, storeRecovered, type BucketState, type LimitRefused } from './channels.ts'
import type { Charge } from './stores/store.ts'

export class LimitLedger {
  readonly #server: object
  readonly #counts: Counts

  constructor (server: object) {
    this.#server = server
    this.#counts = countsOf(server)
  }

  /** A policy that is defined counts from 0. */
  defined (names: readonly string[]): void {
    for (const name of names) this.#counts.limits.of(name)
    defined.publish({ server: this.#server, names })
  }

  granted ({ policy, key, cost }: Pick<Charge, 'policy' | 'key' | 'cost'>): void {
    this.#counts.limits.of(policy).completed++
    if (granted.hasSubscribers) granted.publish({ server: this.#server, policy, key, cost })
  }

  refused (refusal: Omit<LimitRefused, 'requestId'>, bucket: BucketState, request: FastifyRequest | undefined): void {
    this.#counts.limits.of(refusal.policy).refused.limited++
    if (refused.hasSubscribers) refused.publish(Object.assign({ server: this.#server }, bucket, originOf(request), refusal))
  }

  /** A policy bounds how many run at a time. */
  bounded (policy: string, view: () => BoundView): void {
    this.#counts.limits.of(policy).bound = view
  }

  /** A permit was given to a request or a call that had waited for `waited` ms. */
  permitted (policy: string, key: string, waited: number): void {
    this.granted({ policy, key, cost: 1 })
    this.#counts.limits.of(policy).wait.record(waited)
  }

  busy ({ policy, reason, waiting, estimatedWait, limit, retryAfter }: LimitBusyError, key: string, request: FastifyRequest | undefined): void {
    this.#counts.limits.of(policy).refused.limited++
    if (!busy.hasSubscribers) return
    busy.publish({ server: this.#server, policy, key, ...originOf(request), reason, waiting, estimatedWait, limit, retryAfter })
  }

  storeFailed (error: Error, log: FastifyBaseLogger): void {
    logSafely(log, 'error', { err: error }, 'limiter: Redis is away, each policy decides as its onStoreError says')
    this.#counts.storeFailures++
    this.#counts.isStoreUp = false
    storeFailed.publish({ server: this.#server, error })
  }

  storeRecovered (durationMs: number, log: FastifyBaseLogger): void {
    logSafely(log, 'info', { durationMs }, 'limiter: Redis is back')
    this.#counts.isStoreUp = true
    storeRecovered.publish({ server: this.#server, durationMs })
  }
}
