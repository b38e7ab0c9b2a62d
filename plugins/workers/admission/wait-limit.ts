/**
 * The wait limit of a queue: how long a job may wait and still be served in the order of arrival.
 *
 * The limit is `orderWait` until work waits in vain: its client leaves, or it is refused after waiting. This work is the queue's debt, which idle servers
 * pay off. While there is debt, the limit is learned: as short as it can be with busy servers. Much debt is an overload. (CoDel by Nichols and Jacobson,
 * 2012, calls what the limit keeps short a standing queue. CoDel refuses after a time above a target, and so refuses bursts as well.)
 */
import type { QueueEntry } from './queue-entry.ts'

export interface WaitSettings {
  /** How long any job may wait, in ms. */
  maxWait: number
  /** How long jobs keep the order of their arrival, in ms. */
  orderWait: number
  /** The least wait limit in an overload, in ms. */
  targetWait: number
}

/** The limit becomes shorter by this much for each ms of work that waited in vain. Idle time makes it longer again. Together they find the shortest queue that keeps the servers busy. */
const SHORTER = 0.1
/** The factor that a client's departure applies to the limit, if its job was still fresh. A few departures change little; many shorten the limit fast. */
const LEFT = 0.7

export class WaitLimit {
  readonly #settings: WaitSettings
  readonly #servers: number
  readonly #dominant = new DominantKeys()
  #learned: number
  /** In ms of server time, at most what may wait. */
  #debt = 0
  #at = 0

  /** @param servers jobs of this queue that can run at a time */
  constructor (settings: WaitSettings, servers: number) {
    this.#settings = settings
    this.#servers = servers
    this.#learned = settings.orderWait
  }

  /** Records that `idle` servers have been idle until now. A clock that went backwards counts as no time. */
  advance (now: number, idle: number): void {
    const paid = Math.max(0, now - this.#at) * idle
    this.#at = now
    if (this.#debt === 0 || paid === 0) return
    this.#debt = Math.max(0, this.#debt - paid)
    this.#learn(this.#learned + paid)
    if (this.#debt > 0) return
    this.#learned = this.#settings.orderWait
    this.#dominant.clear()
  }

  /** Records that a job waited for `wait` ms, whether it is served now or refused. */
  recordWait ({ key }: QueueEntry, wait: number): void {
    if (this.#debt > 0 && wait >= this.#learned) this.#dominant.add(key)
  }

  /** Records that a job waited for `wait` ms in vain. */
  recordWaste ({ key, expected }: QueueEntry, wait: number): void {
    // The limit is never shorter than targetWait, so a wait below targetWait can't be blamed on the limit.
    if (wait < this.#settings.targetWait) return
    this.#debt = Math.min(this.#settings.maxWait * this.#servers, this.#debt + expected)
    this.#dominant.add(key)
    this.#learn(this.#learned - SHORTER * expected)
  }

  /** Records that the client of a job left after the job had waited for `wait` ms. */
  recordDeparture (entry: QueueEntry, wait: number): void {
    this.recordWaste(entry, wait)
    if (!entry.late && wait >= this.#settings.targetWait) this.#learn(LEFT * this.#learned)
  }

  /** The wait limit of a key, in ms. */
  of (key: string): number {
    return this.#debt > 0 && this.#dominant.answers(key) ? this.#learned : this.#settings.orderWait
  }

  /**
   * Reports whether a key takes part in an overload: the work that waited in vain would have kept the servers busy for `orderWait`. Less of it is a burst
   * that some clients left, and nobody is refused for them.
   */
  isOverloaded (key: string): boolean {
    return this.#debt > this.#settings.orderWait * this.#servers && this.#dominant.answers(key)
  }

  #learn (limit: number): void {
    const { targetWait, orderWait } = this.#settings
    this.#learned = Math.min(orderWait, Math.max(targetWait, limit))
  }
}

/** A key stands out if it has this share of the jobs. A key with less than this share of what the first has does not answer. */
const SHARE = 1 / 4
/** A key that stands out has at least so many jobs: of a few jobs any key may have a quarter by chance. */
const LEAST = 16
/** Past so many jobs, all counts are halved: a bound on memory, and on how long a change of clients goes unnoticed. */
const REMEMBERED = 1_024

/**
 * DominantKeys are the keys that cause an overload: those with the most among the jobs that waited for the wait limit or longer lately.
 *
 * When a few keys stand out, the others don't answer for the overload. When none stands out, all answer, since many keys that each ask for little are an
 * overload too.
 */
class DominantKeys {
  /** Jobs by key. */
  readonly #counts = new Map<string, number>()
  #total = 0
  #most = 0

  /** Adds a job that waited for the limit or longer. */
  add (key: string): void {
    this.#count(key, (this.#counts.get(key) ?? 0) + 1, 1)
    if (this.#total >= REMEMBERED) this.#halve()
  }

  /** Reports whether a key answers for the overload. */
  answers (key: string): boolean {
    return this.#most < Math.max(LEAST, SHARE * this.#total) || (this.#counts.get(key) ?? 0) >= SHARE * this.#most
  }

  clear (): void {
    this.#counts.clear()
    this.#total = this.#most = 0
  }

  #count (key: string, count: number, more: number): void {
    this.#counts.set(key, count)
    this.#total += more
    this.#most = Math.max(this.#most, count)
  }

  #halve (): void {
    const counts = [...this.#counts]
    this.clear()
    for (const [key, count] of counts) if (count >= 2) this.#count(key, count / 2, count / 2)
  }
}
