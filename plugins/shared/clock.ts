/**
 * Where the suite reads time. Algorithms take `now` as an argument; only wiring asks a clock.
 * Monotonic, so a step of the wall clock moves no deadline.
 */
export interface Clock {
  /** Milliseconds since an arbitrary origin; never goes backwards. */
  now (): number
}

export const monotonic: Clock = { now: () => performance.now() }
