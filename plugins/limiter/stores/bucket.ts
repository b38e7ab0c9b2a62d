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
  /** How many ms after `at` the last reservation acts: `lastEvent` of x/time/rate. Below 0 if it has acted. */
  readonly ahead: number
}

/** When a reservation was made, and how many ms later it acts. The two aren't added up, because Redis' clock is too large a number for that. */
export interface Reserved {
  readonly at: number
  readonly wait: number
}

/** When tokens were taken, and what the bucket held after that. */
export interface Taken {
  readonly at: number
  readonly tokens: number
}

/**
 * The part of a token that may be missing when a cost is granted. A client that waits exactly as long as it was told comes back to a bucket
 * that lacks the last bits of a floating-point sum. The missing part stays in the balance, so it doesn't accumulate.
 */
export const SLACK = 1e-7
/** Instants that differ by less, in ms, are the same. The instants of x/time/rate are whole nanoseconds. */
export const SAME = 5e-7

/** Returns the bucket at `now`, with its refill. */
export function advance (bucket: Bucket | undefined, now: number, shape: Shape): Bucket {
  const { rate, burst } = shape
  if (bucket === undefined || rate === Infinity) return { tokens: burst, at: now, ahead: 0 }
  const { tokens, at, ahead } = bucket
  if (now <= at) return tokens > burst ? { tokens: burst, at, ahead } : bucket
  return { tokens: Math.min(burst, tokens + tokensIn(now - at, shape)), at: now, ahead: ahead - (now - at) }
}

/** Returns the tokens that flow back in so many ms. */
function tokensIn (ms: number, { rate }: Shape): number {
  return ms / 1000 * rate
}

/** Returns the time in which so many tokens flow back, in ms. It is cut to nanoseconds, as the durations of x/time/rate are. */
export function timeOf (tokens: number, { rate }: Shape): number {
  return Math.floor(1e9 * (tokens / rate)) / 1e6
}

/**
 * Returns how many ms it takes until `cost` tokens are there, if nobody else takes any: 0 if they are there now, `Infinity` if the bucket
 * never holds that many.
 */
export function delay (bucket: Bucket, cost: number, shape: Shape): number {
  if (shape.rate === Infinity) return 0
  if (cost > shape.burst) return Infinity
  const missing = cost - bucket.tokens
  return missing <= SLACK ? 0 : timeOf(missing, shape)
}

/** Returns the bucket after a reservation of `cost` tokens that acts after `wait` ms. The bucket must have been advanced to the present time. */
export function spend ({ tokens, at }: Bucket, cost: number, wait: number): Bucket {
  return { tokens: tokens - cost, at, ahead: wait }
}

/** Returns when the bucket is full again, in ms. From then on the bucket can be forgotten. */
export function fullAt ({ tokens, at }: Pick<Bucket, 'tokens' | 'at'>, { rate, burst }: Shape): number {
  return at + Math.max(0, burst - tokens) * 1000 / rate
}

/**
 * Returns the bucket after tokens were given back that were taken from it and not used. What may have flowed back to a full bucket in their place
 * isn't given back again: otherwise more than `burst + rate·t` could be used. So if others have taken tokens since, it may be too little.
 */
export function refund (bucket: Bucket, now: number, shape: Shape, cost: number, taken: Taken): Bucket {
  const { tokens, at, ahead } = advance(bucket, now, shape)
  const missing = shape.burst - taken.tokens - tokensIn(at - taken.at, shape)
  if (shape.rate === Infinity || missing <= 0) return bucket
  return { tokens: Math.min(shape.burst, tokens + Math.min(cost, missing)), at, ahead }
}

/**
 * Returns the bucket after a reservation gave its tokens back: `CancelAt` of x/time/rate. Tokens that later reservations were promised on top of
 * this reservation stay spent: otherwise more tokens than the burst could act together. A reservation whose time has passed has acted, and
 * gives nothing back.
 */
export function giveBack (bucket: Bucket, now: number, shape: Shape, cost: number, reserved: Reserved): Bucket {
  const { tokens, at, ahead } = advance(bucket, now, shape)
  const acts = reserved.wait - (at - reserved.at)
  const restored = cost - tokensIn(ahead - acts, shape)
  if (shape.rate === Infinity || acts <= -SAME || restored <= 0) return bucket
  const before = acts - timeOf(cost, shape)
  const isLast = Math.abs(ahead - acts) < SAME && before > -SAME
  return { tokens: Math.min(shape.burst, tokens + restored), at, ahead: isLast ? before : ahead }
}
