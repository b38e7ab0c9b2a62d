/** `app.limiter`: the policies for code. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { currentRequest } from '../cancellation/index.ts'
import { timeLeft } from '../cancellation/handler-timeout.ts'
import { endingWith } from '../cancellation/unawaited.ts'
import { addressKey } from '../shared/address-key.ts'
import { wholeSeconds } from '../shared/coded-error.ts'
import { LimitedError, LimitUnknownError, LimitWaitersFullError } from '../shared/errors.ts'
import { duration, integer, MAX_DURATION, record } from '../shared/options.ts'
import type { BucketState } from './channels.ts'
import type { RunLimited } from './concurrency/index.ts'
import { chargeOf, type PolicyCharge } from './decision.ts'
import type { MaybePromise } from './functions.ts'
import { checkedKey } from './policies/keys.ts'
import { LimitLedger } from './ledger.ts'
import type { ResolvedOptions } from './options.ts'
import type { PolicyName } from './policies/policy.ts'
import type { ResolvedPolicy } from './policies/resolve.ts'
import { SLACK } from './stores/bucket.ts'
import { takeOne, type Store } from './stores/store.ts'
import { endsOf, untilEnded } from './wait-ends.ts'
import type { Waiters } from './waiting/waiters.ts'

/** Options of `limiter.reserve()`. */
export interface ReserveOptions {
  /**
   * Whole tokens to take, from 1 to the burst.
   * @default 1
   */
  cost?: number
  /**
   * How many ms in the future the reservation may act at most.
   * @default the limiter's `waitTimeout`
   */
  maxWait?: number
}

/** Options of `limiter.wait()`. */
export interface WaitOptions {
  /**
   * Whole tokens to take, from 1 to the burst.
   * @default 1
   */
  cost?: number
  /** Stops waiting and gives the tokens back. */
  signal?: AbortSignal
  /**
   * How many ms to wait at most. A call that would have to wait longer is refused at once.
   * @default the limiter's `waitTimeout`
   */
  timeout?: number
  /**
   * How many calls may wait for this key at once. A further call is refused unless its tokens are there.
   * @default the limiter's `maxWaitingPerKey`
   */
  maxWaiting?: number
  /**
   * Goes on waiting when the client of the current request leaves.
   * @default false
   */
  detached?: boolean
}

/** A Reservation holds tokens that will be there after a delay. The caller acts after `delay` ms, or cancels. */
export interface Reservation {
  /** Whether the tokens can be provided within `maxWait`. If false, no tokens were taken. */
  readonly ok: boolean
  /** How many ms the caller must wait before it acts; 0 means at once. If `ok` is false: how many ms until the tokens could be there. */
  readonly delay: number
  /**
   * Indicates that the caller will not act, and reverses the effect of the reservation on the limit as far as possible, considering that
   * later reservations may already have been made (as `Cancel` of Go's x/time/rate). Calling `cancel` again, or after the delay is over, does
   * nothing. Use `wait` instead if callers leave often: there, the tokens go to those who wait behind.
   */
  cancel (): Promise<void>
}

/** The state of a bucket, from which nothing was taken. */
export interface Peek {
  /** Tokens in the bucket now, with fractions; below 0 while reservations wait; at most 0 during a lockout; `Infinity` if there is no limit. */
  readonly tokens: number
  /** The most tokens that the bucket holds. */
  readonly burst: number
  /** How many ms until one token is there, or until the lockout of the key ends; 0 if a token is there now. */
  readonly wait: number
}

/**
 * The policies for code. A policy without a `key` is one bucket. Each method rejects with FC_ERR_LIMIT_UNKNOWN for a policy that isn't
 * registered, with FC_ERR_LIMIT_INVALID for a key or cost that can't be used, and with FC_ERR_LIMITER_STORE if Redis is away and the policy
 * says `closed`.
 */
export interface Limiter {
  /**
   * Reports whether `cost` tokens (1 by default) are there now, and takes them if so. Use this method if you intend to drop or skip work that
   * exceeds the limit. Otherwise use `reserve` or `wait`.
   */
  allow (policy: PolicyName, key?: string, cost?: number): Promise<boolean>
  /**
   * Reserves tokens, and returns a Reservation that tells how many ms the caller must wait before it acts. The tokens are taken from the
   * bucket at once, so later calls wait longer. Use this method if you intend to wait and slow down by means of your own, without dropping
   * work, or if the length of the delay decides what you do. If you need a deadline or an abort signal, use `wait` instead. To drop or skip
   * work that exceeds the limit, use `allow`.
   *
   * A reservation that would act later than `options.maxWait` takes nothing and has `ok: false`.
   *
   * @example
   * const reservation = await app.limiter.reserve('mail')
   * if (!reservation.ok) return                              // too much to do: drop the mail
   * setTimeout(send, reservation.delay)
   */
  reserve (policy: PolicyName, key?: string, options?: ReserveOptions): Promise<Reservation>
  /**
   * Waits until `cost` tokens (1 by default) belong to the caller, first come, first served among all callers that wait for the key. Use this
   * method if you intend to slow down to the limit. Inside a request, waiting stops when the client leaves.
   *
   * Rejects with FC_ERR_LIMITED at once if the wait would take longer than `timeout`, with FC_ERR_LIMIT_WAITERS_FULL if too many callers wait
   * already, with FC_ERR_LIMIT_WAIT_ABORTED when the signal aborts or the client leaves, and with FC_ERR_CLOSING when the application closes.
   *
   * @example
   * await app.limiter.wait('github', undefined, { timeout: 2_000 })
   * const response = await fetch('https://api.github.com/…')
   */
  wait (policy: PolicyName, key?: string, options?: WaitOptions): Promise<void>
  /**
   * Runs a function within the bound of a policy with `concurrency`: at most so many run at a time for each key, and the others wait for at most `maxWait`.
   * Use this method for work that something else does and that has a bound of its own, such as a database. Inside a request, waiting stops when the
   * client leaves; the function isn't interrupted.
   *
   * Rejects with FC_ERR_LIMIT_BUSY if the wait would be too long, with FC_ERR_LIMIT_WAIT_ABORTED when the signal aborts or the client leaves, and with
   * what the function throws.
   *
   * @example
   * const rows = await app.limiter.run('db', () => db.query(sql), { key: tenant })
   */
  run: RunLimited
  /** Returns the state of a bucket, without taking tokens. Another request may take them before you do: to take tokens, use `allow`. */
  peek (policy: PolicyName, key?: string): Promise<Peek>
}

const unlimited: Reservation = { ok: true, delay: 0, cancel: async () => {} }

export function createLimiter ({ server }: Pick<FastifyInstance, 'server'>, { policies, exemptAddresses, waitTimeout, maxWaitingPerKey }: ResolvedOptions, store: Store, waiters: Waiters): Omit<Limiter, 'run'> {
  const ledger = new LimitLedger(server)

  /** Throws FC_ERR_LIMIT_UNKNOWN. */
  function policyOf (name: string): ResolvedPolicy {
    const policy = policies.get(name)
    if (policy === undefined) throw new LimitUnknownError(name, [...policies.keys()])
    return policy
  }

  /**
   * Returns the charge of a call; undefined if the key has no limit. A key that is an address is grouped as a request's
   * would be.
   */
  function charge (
    policy: ResolvedPolicy, key: string | undefined, cost: number, request: FastifyRequest | undefined
  ): MaybePromise<PolicyCharge | undefined> {
    const checked = checkedKey(policy.name, key) ?? ''
    if (policy.key !== 'address') return chargeOf({ policy, key: checked, cost, request })
    if (exemptAddresses?.(checked) === true) return undefined
    return chargeOf({ policy, key: addressKey(checked, policy.ipv6Subnet), ip: checked, cost, request })
  }

  function reportRefused ({ policy, key, cost, rate, burst }: PolicyCharge, seconds: number, request: FastifyRequest | undefined, tokens: number | undefined, lockedOut: boolean, ofWait?: Pick<BucketState, 'waiters' | 'late'>): void {
    ledger.refused({ policy, key, cost, retryAfter: seconds, lockedOut }, { tokens, rate, burst, ...ofWait }, request)
  }

  return {
    async allow (name, key, cost = 1) {
      const request = currentRequest()
      const charged = await charge(policyOf(name), key, cost, request)
      if (charged === undefined) return true
      const { granted: isGranted, wait, tokens, lockedOut } = await takeOne(store, charged, 0)
      if (isGranted) ledger.granted(charged)
      else reportRefused(charged, wholeSeconds(wait), request, tokens, lockedOut)
      return isGranted
    },

    async reserve (name, key, options = {}) {
      const policy = policyOf(name)
      record('options', options, ['cost', 'maxWait'])
      const maxWait = duration('maxWait', options.maxWait ?? waitTimeout, { min: 0, max: MAX_DURATION })
      const charged = await charge(policy, key, options.cost ?? 1, currentRequest())
      if (charged === undefined) return unlimited
      const { granted: isGranted, wait, at, store: holder } = await takeOne(store, charged, maxWait)
      if (isGranted) ledger.granted(charged)
      let isHeld = isGranted
      return {
        ok: isGranted,
        delay: wait,
        cancel: async () => {
          if (!isHeld) return
          isHeld = false
          await holder?.giveBack(charged, { at, wait })
        }
      }
    },

    wait: (name, key, options = {}) => endingWith(currentRequest(), async () => {
      const policy = policyOf(name)
      record('options', options, ['cost', 'signal', 'timeout', 'maxWaiting', 'detached'])
      const { cost = 1 } = options
      const request = currentRequest()
      const { owner, signals } = endsOf(options, request)
      const defaultTimeout = owner === undefined ? waitTimeout : Math.min(waitTimeout, timeLeft(owner))
      const timeout = duration('timeout', options.timeout ?? defaultTimeout, { min: 0, max: MAX_DURATION })
      const maxWaiting = integer('maxWaiting', options.maxWaiting ?? maxWaitingPerKey, { min: 0 })
      waiters.ensureOpen()
      const waited = await untilEnded(name, signals, async () => {
        const charged = await charge(policy, key, cost, request)
        return charged && { charged, end: await waiters.wait(charged, { store, timeout, maxWaiting, signals }) }
      })
      if (waited === undefined) return

      const { charged, end: { granted: isGranted, wait, lockedOut, bound } } = waited
      if (isGranted) return ledger.granted(charged)
      // A call that is repeated after this delay waits no longer than the timeout. During a lockout nobody waits.
      const seconds = wholeSeconds(bound === undefined && !lockedOut ? wait - timeout : wait)
      reportRefused(charged, seconds, request, undefined, lockedOut, bound === undefined ? { late: { wait, timeout } } : { waiters: bound })
      const exposed = charged.limit.expose ? name : undefined
      throw bound === undefined ? new LimitedError(exposed, seconds, lockedOut) : new LimitWaitersFullError(exposed, waiters.total, seconds)
    }),

    async peek (name, key) {
      const charged = await charge(policyOf(name), key, 1, currentRequest())
      if (charged === undefined) return { tokens: Infinity, burst: Infinity, wait: 0 }
      const { tokens, wait } = await takeOne(store, { ...charged, cost: 0 }, 0)
      const missing = 1 - tokens
      return { tokens, burst: charged.burst, wait: missing <= SLACK ? 0 : Math.max(wait, missing * 1000 / charged.rate) }
    }
  }
}
