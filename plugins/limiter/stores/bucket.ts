/**
 * The token bucket of Go's x/time/rate, pure: no timers, no clock, time is an argument.
 *
 * It differs from Go in one point. When the clock goes back, Go starts again from the earlier instant, so the same stretch of time
 * refills the bucket twice; here time that was counted once is never counted again.
 */

/** What a policy says about one bucket. */
export interface Shape {
  /** Tokens a second, above 0. `Infinity` is no limit. */
  readonly rate: number
  /** Tokens that a full bucket holds. */
  readonly burst: number
}

/** A bucket as it was left by its last successful operation. A bucket nobody has used yet is `undefined`, which means full. */
export interface Bucket {
  /** Below 0 while reservations are waiting. */
  readonly tokens: number
  /** When that was, in ms. */
  readonly at: number
}

/**
 * How much may be missing, in tokens, for a cost to count as covered. A client that waits exactly as long as it was told comes back to
 * a bucket that lacks the last bits of a floating point sum. What is overdrawn stays in the balance, so it never adds up.
 */
export const SLACK = 1e-7

/** The bucket at `now`, its refill included. */
export function advance (bucket: Bucket | undefined, now: number, { rate, burst }: Shape): Bucket {
  if (bucket === undefined || rate === Infinity) return { tokens: burst, at: now }
  if (now <= bucket.at) return bucket.tokens > burst ? { tokens: burst, at: bucket.at } : bucket
  return { tokens: Math.min(burst, bucket.tokens + (now - bucket.at) * rate / 1000), at: now }
}

/**
 * How many ms until `cost` tokens are there, if nobody else takes any: 0 if they are there now, `Infinity` if the bucket never holds as
 * many.
 */
export function delay (bucket: Bucket, cost: number, { rate, burst }: Shape): number {
  if (rate === Infinity) return 0
  if (cost > burst) return Infinity
  const missing = cost - bucket.tokens
  return missing <= SLACK ? 0 : missing * 1000 / rate
}

/** The bucket after `cost` tokens were taken from it; take from an advanced bucket only. */
export function spend (bucket: Bucket, cost: number): Bucket {
  return { tokens: bucket.tokens - cost, at: bucket.at }
}

/** When the bucket is full again, which is when it can be forgotten. */
export function fullAt (bucket: Bucket, { rate, burst }: Shape): number {
  return bucket.at + Math.max(0, burst - bucket.tokens) * 1000 / rate
}

/**
 * Gives a reservation's tokens back, as far as that is fair: those that later reservations have already been promised on top of it
 * stay spent, else what is given back could act together with them and exceed the burst. A reservation whose instant has passed has acted.
 *
 * @param actsAt when the reservation was to act, in ms
 */
export function giveBack (bucket: Bucket, now: number, shape: Shape, cost: number, actsAt: number): Bucket {
  if (shape.rate === Infinity || actsAt < now) return bucket
  const lastActsAt = bucket.at + Math.max(0, -bucket.tokens) * 1000 / shape.rate
  const restored = Math.min(cost, cost - (lastActsAt - actsAt) * shape.rate / 1000)
  if (restored <= 0) return bucket
  const { tokens, at } = advance(bucket, now, shape)
  return { tokens: Math.min(shape.burst, tokens + restored), at }
}
