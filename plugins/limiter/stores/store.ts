/** What a store of token buckets must do: the contract that the memory and the Redis store share, and one suite tests on both. */
import type { Shape } from './bucket.ts'

/** What to do with a policy's requests while the store can't be reached. */
export type OnStoreError = 'local' | 'open' | 'closed'

/** Tokens asked of one bucket. */
export interface Demand extends Shape {
  /** Names the policy among all of the store's. */
  readonly policy: string
  readonly key: string
  /** Whole tokens, from 0 (only look) to `burst`. */
  readonly cost: number
  readonly onStoreError: OnStoreError
}

/** One demand's bucket after the decision. */
export interface Outcome {
  /** Tokens left; below 0 while reservations wait. */
  readonly tokens: number
  /** If granted: how many ms until it may act. If not: how many ms until this demand would fit. */
  readonly wait: number
}

export interface Verdict {
  /** Either every demand was granted, or none took a token. */
  readonly granted: boolean
  /** In the order of the demands. */
  readonly outcomes: readonly Outcome[]
  /** When it was decided, in ms of the store's own clock. */
  readonly at: number
  /** Who decided, to give tokens back to; nobody if the store was away and the policies say `open`, or if they aren't the key's own. */
  readonly store: Store | undefined
}

export interface Store {
  /**
   * Grants all of the demands or none. Each demand must be of another policy.
   * @param maxWait how many ms in the future the last demand may act; 0 grants only what may act now
   */
  take (demands: readonly Demand[], maxWait: number): Verdict | Promise<Verdict>
  /**
   * Gives the tokens of a grant back, as far as nothing was promised on top of it. Returns how many tokens the bucket has more.
   * @param actsAt when it was to act, in ms of the store's own clock
   */
  giveBack (demand: Demand, actsAt: number): number | Promise<number>
}
