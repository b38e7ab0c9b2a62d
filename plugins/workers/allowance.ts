/**
 * How long a job may wait in a queue: long in a burst, short in sustained overload.
 *
 * The queue *stands* when more work is offered than can be done: then a long wait serves no more jobs than a short one, only later.
 * Told by the load offered during the last interval, refused work included, and not by how long the queue has been there:
 * by its age a sudden overload goes unnoticed for seconds, and two slow jobs in a quiet hour are taken for one.
 */
import { Patience } from './patience.ts'

export interface AllowanceSettings {
  /** The wait allowed in a burst, in ms. */
  maxWait: number
  /** The least wait allowed in a standing queue, in ms. */
  targetWait: number
  /** Over how long the offered load is measured, in ms. */
  interval: number
}

/** The load up to which a burst is taken for one: chance alone brings 1.3 about when the mean is 1. */
const BURST = 1.3
/** The load from which the queue stands. In between the allowance goes gradually from one bound to the other. */
const STANDING = 1.8
/** The interval is at least this many runs long: the load of fewer is chance. */
const RUNS = 8
/** A queue cut shorter than the time in which about this many long jobs arrive would often be empty when a thread asks. */
const ARRIVALS = 4
/** So many more if lengths differ: of equal ones the last to be let in is itself long, and fills the queue further; of unequal ones it is most often short. */
const SPREAD = 2
/** The weight of a run in the means of all names. */
const WEIGHT = 1 / 32

export class Allowance {
  readonly #settings: AllowanceSettings
  readonly #patience = new Patience()
  #mean = 0
  /** The mean of the squares, in ms². */
  #square = 0
  #load = 0
  #offeredAt = 0
  /** Jobs that can run at a time. */
  #servers = 1

  constructor (settings: AllowanceSettings) {
    // Infinity would make the way from one bound to the other undefined.
    const finite = (ms: number): number => Math.min(ms, Number.MAX_SAFE_INTEGER)
    this.#settings = { maxWait: finite(settings.maxWait), targetWait: finite(settings.targetWait), interval: finite(settings.interval) }
  }

  /** More is offered than `servers` can do. */
  get overloaded (): boolean {
    return this.#load > BURST
  }

  /** A job that is expected to run for `work` ms arrives, be it admitted or not. */
  offered (work: number, servers: number, now: number): void {
    const interval = Math.max(this.#settings.interval, RUNS * this.#run)
    // An exponential average, with 1 / (1 + x) in place of e^-x. A clock that went backwards counts as no time.
    const elapsed = Math.max(0, now - this.#offeredAt)
    this.#load = this.#load * interval / (interval + elapsed) + work / (servers * interval)
    this.#offeredAt = now
    this.#servers = servers
  }

  ran (ms: number): void {
    const weight = this.#mean === 0 ? 1 : WEIGHT
    this.#mean += weight * (ms - this.#mean)
    this.#square += weight * (ms * ms - this.#square)
  }

  /** A client left after `wait` ms. What is always allowed can't be too long, and those who leave at once don't leave because of it. */
  left (wait: number, now: number): void {
    if (wait >= this.#settings.targetWait) this.#patience.left(wait / this.#most(), now)
  }

  /** A client got its answer after `wait` ms in the queue. */
  served (wait: number): void {
    this.#patience.served(wait / this.#most())
  }

  /**
   * How long a job may have waited when its turn comes, in ms. Invariant: never less than `targetWait`.
   * A `blameless` one is allowed the wait of a burst, for the queue doesn't stand because of it.
   */
  atTurn (now: number, blameless: boolean): number {
    const burst = Math.max(this.#settings.targetWait, this.#most() * this.#patience.room(now))
    const excess = this.#excess()
    if (excess === 0 || blameless) return burst
    const standing = Math.min(burst, Math.max(this.#settings.targetWait, this.#kept() / (this.#servers * this.#load)))
    return burst * (standing / burst) ** excess
  }

  /**
   * The expected wait that an arrival is refused for, in ms. In a burst twice what is allowed at its turn: the expectation is
   * rough when run times differ, and a refusal can't be taken back. One run is always allowed: else long jobs had no queue at all.
   */
  onArrival (now: number, blameless: boolean): number {
    return Math.max(this.#mean, this.atTurn(now, blameless) * (2 - this.#excess()))
  }

  /** The mean run, in ms; 0 before the first. */
  get mean (): number {
    return this.#mean
  }

  /** The work that a standing queue is to hold at a load of 1, in ms. */
  #kept (): number {
    return ARRIVALS * this.#run + SPREAD * (this.#run - this.#mean)
  }

  /** How far from a burst (0) to a standing queue (1). */
  #excess (): number {
    return Math.min(1, Math.max(0, (this.#load - BURST) / (STANDING - BURST)))
  }

  /** The mean run, each ms of thread time counted once: what keeps a thread when an arrival finds it busy. Well above the mean if lengths differ. */
  get #run (): number {
    return this.#mean === 0 ? 0 : this.#square / this.#mean
  }

  #most (): number {
    return Math.max(this.#settings.maxWait, this.#mean)
  }
}
