/** Distributions of durations over fixed buckets, so that memory and the cost of a measurement don't grow with the number of measurements. */

/** The upper bounds of Prometheus' buckets, in ms: from a short job to the default deadline. A subset of `bucketBounds`. */
export const prometheusBounds: readonly number[] = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000]

/** Ten steps a decade, the preferred numbers of ISO 3: a quantile that is read from the buckets is off by an eighth at most. */
const steps = [1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8]

/** The upper bounds of the buckets, in ms. The last bucket has no bound. */
export const bucketBounds: readonly number[] = [
  ...[0.1, 1, 10, 100, 1_000].flatMap((decade) => steps.map((step) => Number((step * decade).toPrecision(3)))),
  10_000, 12_500, 16_000, 20_000, 25_000, 30_000
]

/** Durations, in ms. */
export interface DurationsSnapshot {
  count: number
  /** The sum of all durations, in ms. */
  sum: number
  /** How many durations fell into each bucket of `bucketBounds`, each in one bucket only, and how many were longer than all bounds. */
  buckets: number[]
}

export class Durations {
  readonly #buckets = new Array<number>(bucketBounds.length + 1).fill(0)
  #count = 0
  #sum = 0

  record (ms: number): void {
    const index = bucketOf(ms)
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1
    this.#count++
    this.#sum += ms
  }

  snapshot (): DurationsSnapshot {
    return { count: this.#count, sum: this.#sum, buckets: [...this.#buckets] }
  }
}

/** Returns the index of the first bucket whose bound is not below `ms`. */
function bucketOf (ms: number): number {
  let low = 0
  let high = bucketBounds.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ms > (bucketBounds[middle] ?? Infinity)) low = middle + 1
    else high = middle
  }
  return low
}
