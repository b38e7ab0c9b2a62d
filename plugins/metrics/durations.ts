/** Distributions of durations over fixed buckets, so that memory and the cost of a measurement don't grow with the number of measurements. */

/** The upper bounds of the buckets, in ms: from a short job to the default deadline. The last bucket has no bound. */
export const bucketBounds = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000] as const

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
    let index = 0
    while (index < bucketBounds.length && ms > (bucketBounds[index] ?? Infinity)) index++
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1
    this.#count++
    this.#sum += ms
  }

  snapshot (): DurationsSnapshot {
    return { count: this.#count, sum: this.#sum, buckets: [...this.#buckets] }
  }
}
