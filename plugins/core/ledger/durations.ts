/**
 * Durations is a distribution of durations in ms, within 1 %. Its cost and its memory don't grow with the number of
 * measurements. `stats()` reads percentiles from it, and the metrics read buckets, so that there is one measurement of
 * each wait and each run.
 */

/**
 * Ten steps a decade, the preferred numbers of ISO 3: a quantile that is read from the buckets is off by an eighth at
 * most.
 */
const steps = [1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8]

const boundsOf = (decades: readonly number[]): number[] =>
  decades.flatMap((decade) => steps.map((step) => Number((step * decade).toPrecision(3))))

/** The upper bounds of the metrics' buckets, in ms. The last bucket has no bound. */
export const bucketBounds: readonly number[] = [...boundsOf([0.1, 1, 10, 100, 1_000]), 10_000, 12_500, 16_000, 20_000,
  25_000, 30_000]

/** The same bounds, and further ones from a microsecond to nine days. */
const bounds: readonly number[] = [
  ...boundsOf([0.001, 0.01]), ...bucketBounds,
  ...boundsOf([10_000, 1e5, 1e6, 1e7, 1e8]).filter((bound) => bound > 30_000)
]
const FIRST_BUCKET = bounds.indexOf(bucketBounds[0] as number)

/** Each bucket is measured in this many equal parts. A part is at most 2 % of its bounds. */
const PARTS = 14

/** Durations, in ms. */
export interface DurationsSnapshot {
  /** How many durations were measured. */
  count: number
  /** The sum of all durations, in ms. */
  sum: number
  /**
   * How many durations fell into each bucket of `bucketBounds`, each in one bucket only, and how many were longer than
   * all bounds.
   */
  buckets: number[]
}

/** Percentiles in ms, within 1 %; 0 when nothing was measured. */
export interface Percentiles {
  /** How many durations were measured. */
  count: number
  /** The mean, in ms. */
  mean: number
  /** Half of the durations were at most so long, in ms. */
  p50: number
  /** Nine of ten durations were at most so long, in ms. */
  p90: number
  /** All but one of a hundred durations were at most so long, in ms. */
  p99: number
  /** The longest duration, in ms. */
  max: number
}

export class Durations {
  /** How many durations fell into each part of each bucket. Most distributions need a few parts. */
  readonly #parts = new Map<number, number>()
  #count = 0
  #sum = 0
  #max = 0

  record (ms: number): void {
    const part = partOf(ms)
    this.#parts.set(part, (this.#parts.get(part) ?? 0) + 1)
    this.#count++
    this.#sum += ms
    if (ms > this.#max) this.#max = ms
  }

  snapshot (): DurationsSnapshot {
    const buckets = new Array<number>(bucketBounds.length + 1).fill(0)
    for (const [part, count] of this.#parts) {
      const index = Math.min(Math.max(Math.floor(part / PARTS) - FIRST_BUCKET, 0), bucketBounds.length)
      buckets[index] = (buckets[index] as number) + count
    }
    return { count: this.#count, sum: this.#sum, buckets }
  }

  percentiles (): Percentiles {
    const parts = [...this.#parts].sort(([a], [b]) => a - b)
    const at = (share: number): number => {
      let left = share * this.#count
      for (const [part, count] of parts) if ((left -= count) <= 0) return Math.min(middleOf(part), this.#max)
      return this.#max
    }
    return {
      count: this.#count,
      mean: this.#count === 0
        ? 0
        : this.#sum / this.#count,
      p50: at(0.5),
      p90: at(0.9),
      p99: at(0.99),
      max: this.#max
    }
  }
}

function partOf (ms: number): number {
  let low = 0
  let high = bounds.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (ms > (bounds[middle] as number)) low = middle + 1
    else high = middle
  }
  const below = low === 0 ? 0 : bounds[low - 1] as number
  const share = (ms - below) / ((bounds[low] as number) - below)
  return low * PARTS + Math.min(Math.max(Math.ceil(share * PARTS) - 1, 0), PARTS - 1)
}

function middleOf (part: number): number {
  const bucket = Math.floor(part / PARTS)
  const below = bucket === 0 ? 0 : bounds[bucket - 1] as number
  return below + ((bounds[bucket] as number) - below) * (part % PARTS + 0.5) / PARTS
}
