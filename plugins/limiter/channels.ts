/** What the limiter publishes. */
import { typedChannel } from '../shared/typed-channel.ts'

export interface LimitRefused {
  policy: string
  key: string
  /** Tokens asked for. */
  cost: number
  /** Whole seconds. */
  retryAfter: number
  /** The refused request's id; undefined for a call of `limiter.wait` outside a request. */
  requestId: string | undefined
}

export interface StoreFailed {
  error: Error
}

export interface StoreRecovered {
  /** How long the store was away. */
  durationMs: number
}

/** A request was answered 429, or `limiter.wait` refused. */
export const refused = typedChannel<LimitRefused>('limiter:refused')
/** The store can't be reached: each policy decides as its `onStoreError` says. */
export const storeFailed = typedChannel<StoreFailed>('limiter:store-failed')
/** The store is back. */
export const storeRecovered = typedChannel<StoreRecovered>('limiter:store-recovered')
