/**
 * Estimates of how long the jobs of each name run, in ms, learned from measured runs: running time only, neither
 * queueing nor loading. Exponential averages need three numbers a name. Moments over a sliding window would need the
 * samples.
 */

/**
 * The weight of a new sample, once there are many. It is small enough to average a mix of 95 % 2 ms and 5 % 200 ms, and
 * large enough to forget an estimate that is 1000 times too high within about 130 runs.
 */
const WEIGHT = 1 / 20
/** The number of mean deviations around the mean that cover almost all runs. `most` and `least` use it. */
const SPREAD = 3
/**
 * An estimate that no run has renewed for this long, in ms, refuses nothing by deadline. Otherwise a name refused
 * because of it would never run again.
 */
const MEMORY = 10_000
/** Means are multiples of this many ms, so that sums of them are exact: additions and subtractions leave no drift. */
const GRAIN = 1 / 1_024

export class Estimate {
  #samples = 0
  #mean = 0
  /** The mean run time, rounded; 0 for a name that never ran. */
  mean = 0
  /** The mean absolute deviation. */
  #deviation = 0
  #sampledAt = 0

  /** Takes in one run of `ms`. */
  sample (ms: number, now: number): void {
    const error = this.#samples === 0 ? 0 : ms - this.#mean
    const weight = Math.max(WEIGHT, 1 / ++this.#samples)
    this.#mean = this.#samples === 1 ? ms : this.#mean + weight * error
    this.#deviation += weight * (Math.abs(error) - this.#deviation)
    this.mean = Math.round(this.#mean / GRAIN) * GRAIN
    this.#sampledAt = now
  }

  /**
   * Takes in a run that was cut off after `ms`. It would have taken longer, so it can raise the estimate and never
   * lowers it.
   */
  censored (ms: number, now: number): void {
    if (ms > this.#mean) this.sample(ms, now)
  }

  /** Whether the name has ever run. */
  get known (): boolean {
    return this.#samples > 0
  }

  /** The run time that almost no run exceeds; Infinity for a name that never ran. */
  get most (): number {
    return this.known ? this.#mean + SPREAD * this.#deviation : Infinity
  }

  /**
   * The run time that almost every run needs. Admission compares it with the deadline. The mean would refuse jobs that
   * can meet theirs.
   */
  least (now: number): number {
    return now - this.#sampledAt > MEMORY ? 0 : this.#mean * this.certainty
  }

  /**
   * How much of the mean almost every run needs, from 0 to 1: 1 if all runs take equally long. A few runs that took a
   * hundred times longer raise the mean, but they also lower the certainty.
   */
  get certainty (): number {
    return this.#mean === 0 ? 0 : Math.max(0, 1 - SPREAD * this.#deviation / this.#mean)
  }
}

/** At least so many keys of a name have estimates of their own, those that ran last, and at most twice as many. */
const KEYS = 500

/**
 * The estimates of a name: of all its runs, and by key. A map that is deleted from and added to at each run would cost
 * a fifth of a short job.
 */
class OfName {
  readonly all = new Estimate()
  /** Keys that ran lately, and those that ran before. */
  #recent = new Map<string, Estimate>()
  #earlier = new Map<string, Estimate>()

  find (key: string): Estimate | undefined {
    return this.#recent.get(key) ?? this.#earlier.get(key)
  }

  /** Returns the estimate of a key that has run now. */
  renew (key: string): Estimate {
    let own = this.#recent.get(key)
    if (own === undefined) {
      own = this.#earlier.get(key) ?? new Estimate()
      if (this.#recent.size >= KEYS) {
        this.#earlier = this.#recent
        this.#recent = new Map()
      }
      this.#recent.set(key, own)
    }
    return own
  }
}

export class Estimates {
  readonly #byJob: OfName[] = []

  /** The estimate of a name, by its index. */
  of (job: number): Estimate {
    return this.#of(job).all
  }

  /** The estimate of a key's runs of a name, if the key is among those that ran last. */
  ofKey (job: number, key: string): Estimate | undefined {
    return this.#of(job).find(key)
  }

  /** Takes in one run of `ms` of a key, or one that was cut off after `ms`. */
  sample (job: number, key: string, ms: number, now: number, isCensored = false): void {
    const ofName = this.#of(job)
    for (const estimate of [ofName.all, ofName.renew(key)]) {
      if (isCensored) estimate.censored(ms, now)
      else estimate.sample(ms, now)
    }
  }

  #of (job: number): OfName {
    return (this.#byJob[job] ??= new OfName())
  }
}
