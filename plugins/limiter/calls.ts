/** `app.limiter`: the policies for code. */
import type { FastifyRequest } from 'fastify'
import { currentRequest } from '../cancellation/index.ts'
import { LimitedError, LimitUnknownError, LimitWaitAbortedError, LimitWaitersFullError } from '../shared/errors.ts'
import { boolean, duration, ensure, integer, MAX_DURATION, record } from '../shared/options.ts'
import type { AddressList } from './allow-list.ts'
import { SLACK } from './stores/bucket.ts'
import { rejected } from './channels.ts'
import { retryAfter } from './headers.ts'
import { checkedKey, type AddressKey } from './keys.ts'
import type { MaybePromise } from './maybe.ts'
import { demandOf } from './plan.ts'
import type { PolicyName, ResolvedPolicy } from './policies.ts'
import type { Demand, Store } from './stores/store.ts'
import type { Waiters } from './waiters.ts'

export interface ReserveOptions {
  /** Whole tokens, from 1 to the burst. @default 1 */
  cost?: number
  /** How many ms in the future it may act at most. @default the limiter's `waitTimeout` */
  maxWait?: number
}

export interface WaitOptions {
  /** Whole tokens, from 1 to the burst. @default 1 */
  cost?: number
  /** Stops waiting and gives the tokens back. */
  signal?: AbortSignal
  /** What would have to wait longer, in ms, is refused at once. @default the limiter's `waitTimeout` */
  timeout?: number
  /** How many may wait for this key at once; one more is refused unless it needn't wait. @default the limiter's `maxWaitingPerKey` */
  maxWaiting?: number
  /** Goes on waiting when the client of the current request leaves. @default false */
  detached?: boolean
}

/** Tokens that were promised for an instant. Act after `delay` ms, or cancel. */
export interface Reservation {
  /** False if it would act too late: nothing was taken. */
  readonly ok: boolean
  /** How many ms until it may act; if it isn't ok, until it could. */
  readonly delay: number
  /** Gives the tokens back, as far as nothing was promised on top of them. Idempotent; without effect once the delay is over. */
  cancel (): Promise<void>
}

export interface Peek {
  /** Tokens in the bucket now, with fractions; below 0 while reservations wait; `Infinity` if there is no limit. */
  readonly tokens: number
  readonly burst: number
  /** How many ms until one token is there. */
  readonly wait: number
}

/** A policy whose `key` isn't given is one bucket. Each method throws FC_ERR_LIMIT_UNKNOWN for a policy that isn't registered. */
export interface Limiter {
  /** Takes `cost` tokens if they are there now. Throws FC_ERR_LIMITER_STORE if the store is away and the policy says `closed`. */
  allow (policy: PolicyName, key?: string, cost?: number): Promise<boolean>
  /** Takes tokens that will be there. */
  reserve (policy: PolicyName, key?: string, options?: ReserveOptions): Promise<Reservation>
  /**
   * Resolves when `cost` tokens are its own, first come, first served. Inside a request it stops when the client leaves.
   * Throws FC_ERR_LIMITED if that would take too long, FC_ERR_LIMIT_WAITERS_FULL, FC_ERR_LIMIT_WAIT_ABORTED, or FC_ERR_CLOSING.
   *
   * @example
   * await app.limiter.wait('github', undefined, { timeout: 2_000 })
   * const response = await fetch('https://api.github.com/…')
   */
  wait (policy: PolicyName, key?: string, options?: WaitOptions): Promise<void>
  /** Looks without taking. */
  peek (policy: PolicyName, key?: string): Promise<Peek>
}

export interface CallsSettings {
  waitTimeout: number
  maxWaitingPerKey: number
  /** The addresses that no policy limits. */
  exemptAddresses: AddressList | undefined
}

const nothing: Reservation = { ok: true, delay: 0, cancel: async () => {} }

export function createLimiter (
  policies: ReadonlyMap<string, ResolvedPolicy>, store: Store, waiters: Waiters, addressKey: AddressKey, settings: CallsSettings
): Limiter {
  function find (name: string): ResolvedPolicy {
    const policy = policies.get(name)
    if (policy === undefined) throw new LimitUnknownError(name, [...policies.keys()].join(', '))
    return policy
  }

  /** The demand of a call; undefined if the key has no limit. A key that is an address is grouped as a request's would be. */
  function demand (policy: ResolvedPolicy, key: string | undefined, cost: number, request: FastifyRequest | undefined): MaybePromise<Demand | undefined> {
    const checked = checkedKey(policy.name, key) ?? ''
    if (policy.key !== 'address') return demandOf({ policy, key: checked, cost, request })
    if (settings.exemptAddresses?.(checked) === true) return undefined
    return demandOf({ policy, key: addressKey(checked), ip: checked, cost, request })
  }

  return {
    async allow (name, key, cost = 1) {
      const asked = await demand(find(name), key, cost, currentRequest())
      return asked === undefined || (await store.take([asked], 0)).granted
    },

    async reserve (name, key, options = {}) {
      record('options', options, ['cost', 'maxWait'])
      const maxWait = duration('maxWait', options.maxWait ?? settings.waitTimeout, { min: 0, max: MAX_DURATION })
      const asked = await demand(find(name), key, options.cost ?? 1, currentRequest())
      if (asked === undefined) return nothing
      const { granted, outcomes: [outcome], at, store: holder } = await store.take([asked], maxWait)
      let held = granted
      return {
        ok: granted,
        delay: outcome!.wait,
        cancel: async () => {
          if (!held) return
          held = false
          await holder?.giveBack(asked, at + outcome!.wait)
        }
      }
    },

    async wait (name, key, options = {}) {
      record('options', options, ['cost', 'signal', 'timeout', 'maxWaiting', 'detached'])
      const { cost = 1, signal } = options
      ensure(signal === undefined || signal instanceof AbortSignal, 'signal', 'an AbortSignal', signal)
      const detached = boolean('detached', options.detached ?? false)
      const timeout = duration('timeout', options.timeout ?? settings.waitTimeout, { min: 0, max: MAX_DURATION })
      const maxWaiting = integer('maxWaiting', options.maxWaiting ?? settings.maxWaitingPerKey, { min: 0 })
      waiters.ensureOpen()
      if (signal?.aborted) throw new LimitWaitAbortedError(name, { cause: signal.reason })
      const request = currentRequest()
      const policy = find(name)
      const asked = await demand(policy, key, cost, request)
      if (asked === undefined) return

      const refused = (seconds: number): void => rejected.publish({ policy: name, key: asked.key, cost, retryAfter: seconds, requestId: request?.id })
      const bucket = `${name}\0${asked.key}`
      if (!waiters.hasRoom(bucket, maxWaiting)) {
        // Who needn't wait isn't refused.
        const { granted, outcomes: [outcome] } = await store.take([asked], 0)
        if (granted) return
        const seconds = retryAfter(outcome!.wait)
        refused(seconds)
        throw new LimitWaitersFullError(name, waiters.total, seconds)
      }
      const signals = [signal, detached ? undefined : request?.disconnected].filter((signal) => signal !== undefined)
      let wait: number
      try {
        wait = await waiters.wait(bucket, asked, { store, timeout, signals })
      } catch (error) {
        const aborted = signals.find((signal) => signal.aborted && signal.reason === error)
        throw aborted === undefined ? error : new LimitWaitAbortedError(name, { cause: error })
      }
      if (wait === 0) return
      const seconds = retryAfter(wait - timeout)
      refused(seconds)
      throw new LimitedError(policy.expose ? name : undefined, seconds)
    },

    async peek (name, key) {
      const asked = await demand(find(name), key, 1, currentRequest())
      if (asked === undefined) return { tokens: Infinity, burst: Infinity, wait: 0 }
      const { outcomes: [outcome] } = await store.take([{ ...asked, cost: 0 }], 0)
      const missing = 1 - outcome!.tokens
      return { tokens: outcome!.tokens, burst: asked.burst, wait: missing <= SLACK ? 0 : missing * 1000 / asked.rate }
    }
  }
}
