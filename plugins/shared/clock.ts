/**
 * Clock is where the suite reads the time. Algorithms take `now` as an argument; only wiring reads a clock. The clock
 * is monotonic, so that a step of the wall clock moves no deadline.
 */
export interface Clock {
  /** Milliseconds since an arbitrary origin; never goes backwards. */
  now (): number
}

export const monotonic: Clock = { now: () => performance.now() }
