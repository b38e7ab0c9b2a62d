/**
 * How long a job may wait in a queue: long in a burst, short in sustained overload.
 *
 * A queue *stands* when it has not been worked off for an interval: it then adds its wait to every job and serves
 * no more of them than a short one would. (CoDel's observation, Nichols and Jacobson 2012, with its interval and target.)
 * Both bounds grow with the run time: a bound of 100 ms would leave no queue at all to jobs of one second.
 */
export interface StandingSettings {
  /** The wait allowed in a burst, in ms. */
  maxWait: number
  /** The wait allowed in a standing queue, in ms. */
  targetWait: number
  /** How long a queue stands before it is held to `targetWait`, in ms. */
  interval: number
}

/** The weight of a run in the mean. */
const WEIGHT = 1 / 32

export class Standing {
  readonly #settings: StandingSettings
  #since = -Infinity
  #mean = 0
  #known = false

  constructor (settings: StandingSettings) {
    this.#settings = settings
  }

  /** The queue has been worked off. Emptied by refusing what was in it doesn't count: that is overload, not the end of it. */
  drained (): void {
    this.#since = -Infinity
  }

  ran (ms: number): void {
    this.#mean += this.#known ? WEIGHT * (ms - this.#mean) : ms
    this.#known = true
  }

  joined (now: number): void {
    if (this.#since === -Infinity || now < this.#since) this.#since = now
  }

  stands (now: number): boolean {
    return this.#since !== -Infinity && now - this.#since >= this.#settings.interval
  }

  /** In ms. */
  allowed (now: number): number {
    return this.stands(now)
      ? Math.max(this.#settings.targetWait, this.#mean)
      : Math.max(this.#settings.maxWait, 2 * this.#mean)
  }
}
