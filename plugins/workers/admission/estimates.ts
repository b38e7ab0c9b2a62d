/**
 * How long each job runs, learnt from measured runs. Running time only: neither queueing nor loading.
 *
 * Each name has a mean (what its waiting adds to others' wait), a mean deviation (how far to trust the mean) and a low mark
 * (the least it can be expected to take, for "it can't meet its deadline": refusing on the mean would refuse jobs that
 * would have made it). Moments over a sliding window would need the samples; exponential averages need three numbers.
 */

/** The weight of a new sample, once there are many. Small enough to average a mix of 95 % 2 ms and 5 % 200 ms, large enough to forget an estimate 1000 times too high within about 130 runs. */
const WEIGHT = 1 / 20
const LOW_RISE = 1 / 32
/** A name that hasn't run for this long begins to be forgotten, in ms: by half each such time. */
const MEMORY = 10_000

export class Estimates {
  readonly #samples: Float64Array
  readonly #mean: Float64Array
  readonly #deviation: Float64Array
  readonly #low: Float64Array
  readonly #sampledAt: Float64Array

  constructor (jobs: number) {
    this.#samples = new Float64Array(jobs)
    this.#mean = new Float64Array(jobs)
    this.#deviation = new Float64Array(jobs)
    this.#low = new Float64Array(jobs)
    this.#sampledAt = new Float64Array(jobs)
  }

  /** Takes in one run of `ms`. */
  sample (job: number, ms: number, now: number): void {
    const samples = ++this.#samples[job]!
    const error = ms - this.#mean[job]!
    const weight = Math.max(WEIGHT, 1 / samples)
    this.#mean[job]! += weight * error
    this.#deviation[job]! += weight * (Math.abs(samples === 1 ? 0 : error) - this.#deviation[job]!)
    const low = this.#low[job]!
    this.#low[job] = samples === 1 || ms < low ? ms : low + LOW_RISE * (ms - low)
    this.#sampledAt[job] = now
  }

  /** Takes in a run that was cut off after `ms`: it would have taken longer, so it can raise the estimate and not lower it. */
  censored (job: number, ms: number, now: number): void {
    if (ms > this.#mean[job]!) this.sample(job, ms, now)
  }

  known (job: number): boolean {
    return this.#samples[job]! > 0
  }

  /** In ms; 0 for a name that never ran. */
  mean (job: number): number {
    return this.#mean[job]!
  }

  /** In ms: all but a few runs take less. Infinity for a name that never ran. */
  most (job: number): number {
    return this.#samples[job] === 0 ? Infinity : this.#mean[job]! + 3 * this.#deviation[job]!
  }

  /**
   * The least that a run can be expected to take, in ms. It fades while the name doesn't run: otherwise a name whose jobs are refused because of an
   * estimate would never run again, and so never correct the estimate. A clock that went backwards counts as no time.
   */
  least (job: number, now: number): number {
    const age = now - this.#sampledAt[job]!
    return this.#low[job]! * (age > MEMORY ? 2 ** (1 - age / MEMORY) : 1)
  }
}
