/** The limiter's diagnostics channels. `server` tells applications in one process apart. */
import { typedChannel } from '../shared/typed-channel.ts'

export interface LimitRefused {
  policy: string
  /** The key as the store keeps it: of more than 256 characters, its digest. */
  key: string
  /** Tokens that were asked for. */
  cost: number
  /** When the same would be granted, in whole seconds. */
  retryAfter: number
  /** The refused request's id; undefined for a call of `limiter.wait` outside a request. */
  requestId: string | undefined
}

export interface StoreFailed {
  /** The application's server. */
  server: object
  error: Error
}

export interface StoreRecovered {
  /** The application's server. */
  server: object
  /** How long the store was away, in ms. */
  durationMs: number
}

/** Published when a request is answered 429, or `limiter.wait` refuses a call. */
export const refused = typedChannel<LimitRefused & { server: object }>('limiter:refused')
/** Published when the store can't be reached. From then on each policy decides as its `onStoreError` says. */
export const storeFailed = typedChannel<StoreFailed>('limiter:store-failed')
/** Published when the store answers again. */
export const storeRecovered = typedChannel<StoreRecovered>('limiter:store-recovered')
