/**
 * Estimates of how long the jobs of each name run, in ms, learned from measured runs: running time only, neither
 * queueing nor loading. Exponential averages need three numbers a name. Moments over a sliding window would need the
 * samples.
 */
import type { Entry } from './entry.ts'

/**
 * The weight of a new sample, once there are many. It is small enough to average a mix of 95 % 2 ms and 5 % 200 ms, and
 * large enough to forget an estimate that is 1000 times too high within about 130 runs.
 */
const WEIGHT = 1 / 20
/** The number of mean deviations around the mean that cover almost all runs. `most` and `least` use it. */
const SPREAD = 3
/**
 * An estimate that no run has renewed for this long, in ms, refuses nothing. Otherwise a name or a key refused because
 * of it would never run again.
 */
const MEMORY = 10_000
/** Means are multiples of this many ms, so that sums of them are exact: additions and subtractions leave no drift. */
const GRAIN = 1 / 1_024
export const grains = (ms: number): number => Math.round(ms / GRAIN) * GRAIN

export class Estimate {
  /** Runs that were taken in. */
  samples = 0
  #mean = 0
  /** The mean run time, rounded; 0 for a name that never ran. */
  mean = 0
  /** The mean absolute deviation. */
  #deviation = 0
  #sampledAt = 0

  /** Takes in one run of `ms`. */
  sample (ms: number, now: number): void {
    const error = this.samples === 0 ? 0 : ms - this.#mean
    const weight = Math.max(WEIGHT, 1 / ++this.samples)
    this.#mean = this.samples === 1 ? ms : this.#mean + weight * error
    this.#deviation += weight * (Math.abs(error) - this.#deviation)
    this.mean = grains(this.#mean)
    this.#sampledAt = now
  }

  /**
   * Takes in a run that was cut off after `ms`. It would have taken longer, so it can raise the estimate and never
   * lowers it.
   */
  censored (ms: number, now: number): void {
    if (ms > this.#mean) this.sample(ms, now)
  }

  /** The part of the mean that is expected of others: the more have run, the more. One tells nothing of others. */
  get ofOthers (): number {
    return this.mean * Math.min(1, WEIGHT * (this.samples - 1))
  }

  /** Whether the name has ever run. */
  get known (): boolean {
    return this.samples > 0
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
    return this.isFresh(now) ? this.#mean * this.certainty : 0
  }

  /** Whether a run has renewed the estimate lately. */
  isFresh (now: number): boolean {
    return now - this.#sampledAt <= MEMORY
  }

  /**
   * How much of the mean almost every run needs, from 0 to 1: 1 if all runs take equally long. A few runs that took a
   * hundred times longer raise the mean, but they also lower the certainty.
   */
  get certainty (): number {
    return this.#mean === 0 ? 0 : Math.max(0, 1 - SPREAD * this.#deviation / this.#mean)
  }

  /**
   * How much of the mean almost every run of others needs. A few runs tell nothing certain: otherwise seven addresses
   * with a costly job each would have the next crowd of new keys refused on idle threads.
   */
  certaintyOfOthers (now: number): number {
    return this.isFresh(now) && this.samples >= 1 / WEIGHT ? this.certainty : 0
  }
}

/** At least so many keys of a name have estimates of their own, those that ran last, and at most twice as many. */
const KEYS = 500

/**
 * The estimates of a name: of all its runs, of the first runs of keys, and by key. A map that is deleted from and added
 * to at each run would cost a fifth of a short job.
 */
class OfName {
  readonly all = new Estimate()
  /** Each key counts once, so that one client can't teach what the jobs of the others take. */
  readonly first = new Estimate()
  /** Keys that ran lately, and those that ran before. */
  #recent = new Map<string, Estimate>()
  #earlier = new Map<string, Estimate>()

  find (key: string): Estimate | undefined {
    return this.#recent.get(key) ?? this.#earlier.get(key)
  }

  /** Takes in a run of a key. An estimate that is out of date starts anew. */
  sample (key: string, ms: number, now: number, isCensored: boolean): void {
    const own = this.#renew(key, now)
    for (const estimate of own.known ? [this.all, own] : [this.all, this.first, own]) {
      if (isCensored) estimate.censored(ms, now)
      else estimate.sample(ms, now)
    }
  }

  #renew (key: string, now: number): Estimate {
    const recent = this.#recent.get(key)
    if (recent?.isFresh(now) === true) return recent
    const earlier = this.#earlier.get(key)
    const own = earlier?.isFresh(now) === true ? earlier : new Estimate()
    if (recent === undefined && this.#recent.size >= KEYS) {
      this.#earlier = this.#recent
      this.#recent = new Map()
    }
    this.#recent.set(key, own)
    return own
  }
}

export class Estimates {
  readonly #byJob: OfName[] = []

  /** The estimate of a name, by its index. */
  of (job: number): Estimate {
    return this.#of(job).all
  }

  /**
   * The run time that is expected of a key that has run lately, in ms. One that ran long ago is as good as new:
   * otherwise a key that ran long jobs once would be refused for ever in an overload.
   */
  ofKey (job: number, key: string, now: number): number | undefined {
    const own = this.#of(job).find(key)
    return own?.isFresh(now) === true ? own.mean : undefined
  }

  /** The estimate for keys that have not run, once two keys have run. */
  ofStrangers (job: number): Estimate | undefined {
    const { first } = this.#of(job)
    return first.samples > 1 ? first : undefined
  }

  /** The estimate that tells how sure the time is that an entry takes: that of its key, or of strangers. */
  for ({ job, key, isStranger }: Entry): Estimate | undefined {
    return isStranger ? this.ofStrangers(job) : this.#of(job).find(key) ?? this.of(job)
  }

  /** Takes in one run of `ms` of a key, or one that was cut off after `ms`. */
  sample (job: number, key: string, ms: number, now: number, isCensored = false): void {
    this.#of(job).sample(key, ms, now, isCensored)
  }

  #of (job: number): OfName {
    return (this.#byJob[job] ??= new OfName())
  }
}
