/**
 * The token bucket of Go's x/time/rate, as pure functions: the time is an argument.
 *
 * The bucket differs from Go's in one point. When the clock goes back, Go starts again from the earlier instant, so the same stretch of time
 * refills the bucket twice. Here, time that was counted once is never counted again.
 */

/** The rate and the size of a bucket. */
export interface Shape {
  /** Tokens a second, above 0. `Infinity` is no limit. */
  readonly rate: number
  /** Tokens that a full bucket holds. */
  readonly burst: number
}

/** The state of a bucket after its last successful operation. A bucket that nobody has used yet is `undefined`, which means full. */
export interface Bucket {
  /** Below 0 while reservations are waiting. */
  readonly tokens: number
  /** The time of that operation, in ms. */
  readonly at: number
}

/**
 * The part of a token that may be missing when a cost is granted. A client that waits exactly as long as it was told comes back to a bucket
 * that lacks the last bits of a floating-point sum. The missing part stays in the balance, so it doesn't accumulate.
 */
export const SLACK = 1e-7

/** Returns the bucket at `now`, with its refill. */
export function advance (bucket: Bucket | undefined, now: number, { rate, burst }: Shape): Bucket {
  if (bucket === undefined || rate === Infinity) return { tokens: burst, at: now }
  if (now <= bucket.at) return bucket.tokens > burst ? { tokens: burst, at: bucket.at } : bucket
  return { tokens: Math.min(burst, bucket.tokens + (now - bucket.at) * rate / 1000), at: now }
}

/**
 * Returns how many ms it takes until `cost` tokens are there, if nobody else takes any: 0 if they are there now, `Infinity` if the bucket
 * never holds that many.
 */
export function delay (bucket: Bucket, cost: number, { rate, burst }: Shape): number {
  if (rate === Infinity) return 0
  if (cost > burst) return Infinity
  const missing = cost - bucket.tokens
  return missing <= SLACK ? 0 : missing * 1000 / rate
}

/** Returns the bucket after `cost` tokens were taken from it. The bucket must have been advanced to the present time. */
export function spend (bucket: Bucket, cost: number): Bucket {
  return { tokens: bucket.tokens - cost, at: bucket.at }
}

/** Returns when the bucket is full again, in ms. From then on the bucket can be forgotten. */
export function fullAt (bucket: Bucket, { rate, burst }: Shape): number {
  return bucket.at + Math.max(0, burst - bucket.tokens) * 1000 / rate
}

/**
 * Returns the bucket after a reservation gave its tokens back. Tokens that later reservations were promised on top of this reservation stay
 * spent: otherwise more tokens than the burst could act together. A reservation whose time has passed has acted, and gives nothing back.
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
