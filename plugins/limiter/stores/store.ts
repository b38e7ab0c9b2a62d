/** The contract of a store of token buckets. The memory store and the Redis store share it, and one test suite runs on both. */
import type { Reserved, Shape, Taken } from './bucket.ts'

/** Where a store reads the time. It is monotonic, so that a step of the wall clock moves no deadline. */
export interface Clock {
  /** Milliseconds since an arbitrary origin; never goes backwards. */
  now (): number
}

/** The decision on a policy's requests while the store can't be reached. */
export type OnStoreError = 'local' | 'open' | 'closed'

/**
 * After `after` refusals the store refuses a key for `duration` ms, whatever its bucket holds. Refusals are counted until the bucket is full
 * again. Refusals during a lockout don't count, so a lockout never grows.
 */
export interface Lockout {
  /** Refusals until the lockout. */
  readonly after: number
  /** In ms. */
  readonly duration: number
}

/** A Charge asks one bucket for tokens. */
export interface Charge extends Shape {
  /** Names the policy among all policies of the store. */
  readonly policy: string
  readonly key: string
  /** Whole tokens, from 0 (only look) to `burst`. */
  readonly cost: number
  readonly onStoreError: OnStoreError
  readonly lockout?: Lockout | undefined
}

/** A Balance is the state of a charge's bucket after the decision. */
export interface Balance<C extends Charge = Charge> {
  readonly charge: C
  /** Tokens left; below 0 while reservations wait, and never above 0 during a lockout. */
  readonly tokens: number
  /** If granted: how many ms until the charge may act. If not: how many ms until the charge would fit, or until the lockout ends. */
  readonly wait: number
  /** Whether a lockout refuses the key, one that begins with this refusal included. */
  readonly lockedOut: boolean
}

export interface Decision<C extends Charge = Charge> {
  /** Either every charge was granted, or none took a token. */
  readonly granted: boolean
  /** In the order of the charges. */
  readonly balances: ReadonlyArray<Balance<C>>
  /** When the store decided, in ms of its own clock. */
  readonly at: number
  /** The store that takes tokens back. Undefined if the store was away and the policies say `open`, or if the bucket isn't the key's own. */
  readonly store: Store | undefined
}

export interface Store {
  /**
   * Grants all charges or none. Each charge must be of another policy.
   * @param maxWait how many ms in the future the last charge may act; 0 grants only what may act now
   */
  take<C extends Charge> (charges: readonly C[], maxWait: number): Decision<C> | Promise<Decision<C>>
  /** Gives back the tokens of a reservation that will not act. Tokens that later reservations depend on stay taken. */
  giveBack (charge: Charge, reserved: Reserved): void | Promise<void>
  /** Gives back tokens of a granted charge that were not used. */
  refund (charge: Charge, taken: Taken): void | Promise<void>
}

/** The decision on one charge. */
export interface SingleDecision extends Balance, Omit<Decision, 'balances'> {}

/** Has a store decide on one charge. */
export async function takeOne (store: Store, charge: Charge, maxWait: number): Promise<SingleDecision> {
  const { balances: [balance], ...decision } = await store.take([charge], maxWait)
  return { ...balance!, ...decision }
}
