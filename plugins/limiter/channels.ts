/** The limiter's diagnostics channels. `server` tells applications in one process apart. */
import type { Origin } from '../cancellation/origin.ts'
import type { Refusal } from '../shared/errors.ts'
import { typedChannel } from '../shared/typed-channel.ts'

/** A charge that a policy refused. */
export interface LimitRefused {
  /** The policy's name. */
  policy: string
  /** The key as the store keeps it: of more than 256 characters, its digest. */
  key: string
  /** Tokens that were asked for. */
  cost: number
  /** The whole seconds until the same charge would be granted. */
  retryAfter: number
  /** Whether a lockout of the policy refused the charge, and not its bucket. */
  lockedOut: boolean
  /** The refused request's id; undefined for a call of `limiter.wait` outside a request. */
  requestId: string | undefined
}

/** A policy with `concurrency` has refused a request or a call: as many run as it allows, and the wait would be, or was, too long. */
export interface LimitBusy extends Refusal {
  /** The application's server. */
  server: object
  /** The policy's name. */
  policy: string
  /** Whose bound it is; empty if the whole service shares it. */
  key: string
}

/** The store of the limits is away. */
export interface StoreFailed {
  /** The application's server. */
  server: object
  /** The store's error. */
  error: Error
}

/** The store of the limits is back. */
export interface StoreRecovered {
  /** The application's server. */
  server: object
  /** How long the store was away, in ms. */
  durationMs: number
}

/** A charge that a policy granted. */
export interface LimitGranted {
  /** The application's server. */
  server: object
  /** The policy's name. */
  policy: string
  /** The key as the store keeps it. */
  key: string
  /** Tokens that were taken. */
  cost: number
}

/** The state of the bucket at the time of the refusal. */
export interface BucketState {
  /** Tokens in the bucket; below 0 while reservations wait, and at most 0 during a lockout. Undefined for a call of `wait`. */
  tokens: number | undefined
  /** Tokens a second. */
  rate: number
  /** The most tokens that the bucket holds. */
  burst: number
  /** Of a call of `wait` that may not wait: how many calls wait already, and how many may. */
  waiters?: { waiting: number, limit: number }
  /** Of a call of `wait` whose tokens would come too late: after how many ms, and its timeout. */
  late?: { wait: number, timeout: number }
}

/** Published when a request is answered 429, or `limiter.allow` or `limiter.wait` refuses a call. */
export const refused = typedChannel<LimitRefused & Origin & BucketState & { server: object }>('limiter:refused')
/** Published when a policy with `concurrency` refuses a request, or a call of `limiter.run`. */
export const busy = typedChannel<LimitBusy & Origin>('limiter:busy')
/** Published for each policy that has granted a request, or a call of `allow`, `reserve`, `run` or `wait`. */
export const granted = typedChannel<LimitGranted>('limiter:granted')
/** Published when the store can't be reached. From then on each policy decides as its `onStoreError` says. */
export const storeFailed = typedChannel<StoreFailed>('limiter:store-failed')
/** Published when the store answers again. */
export const storeRecovered = typedChannel<StoreRecovered>('limiter:store-recovered')
/** Published once, when the application gets ready: the names of the policies. */
export const defined = typedChannel<{ server: object, names: readonly string[] }>('limiter:defined')
