/**
 * The wait limit of a queue: how long a job may wait and still be served in the order of arrival.
 *
 * Nothing tells a burst from the first second of an overload. What tells an overload is work that waited in vain, because its client left or because it
 * was refused after waiting. This work is the queue's debt. Idle thread time pays the debt off. While there is no debt, the limit is `orderWait`. While there is, the limit is learned: as short as it can be with busy threads.
 */
import { DominantKeys } from './dominant-keys.ts'
import type { Ticket } from './queue-entry.ts'

export interface WaitSettings {
  /** How long any job may wait, in ms. */
  maxWait: number
  /** How long jobs keep the order of their arrival, in ms. */
  orderWait: number
  /** The least wait limit in an overload, in ms. */
  targetWait: number
}

/** How much shorter the limit becomes for each ms of work that waited in vain. With idle time, which makes it longer, it finds the shortest queue that keeps the threads busy. */
const SHORTER = 0.1
/** What is left of the limit when a client leaves whose job was to be served in order. A few impatient clients don't decide for the others, and many do so fast. */
const LEFT = 0.7

export class WaitLimit {
  readonly #settings: WaitSettings
  readonly #servers: number
  readonly #dominant = new DominantKeys()
  #learned: number
  /** In ms of thread time, and at most what may wait. */
  #debt = 0
  #at = 0

  /** @param servers jobs of this queue that can run at a time */
  constructor (settings: WaitSettings, servers: number) {
    this.#settings = settings
    this.#servers = servers
    this.#learned = settings.orderWait
  }

  /** Says that `idle` servers have been idle until now. A clock that went backwards counts as no time. */
  advance (now: number, idle: number): void {
    const elapsed = Math.max(0, now - this.#at)
    this.#at = now
    if (this.#debt === 0 || elapsed === 0) return
    this.#debt -= elapsed * idle
    if (this.#debt > 0) this.#set(this.#learned + elapsed * idle)
    else {
      this.#debt = 0
      this.#learned = this.#settings.orderWait
      this.#dominant.clear()
    }
  }

  /** Says that a job waited for `wait` ms, be it that it is served or that it is refused now. */
  waited ({ key }: Ticket, wait: number): void {
    if (this.#debt > 0 && wait >= this.#learned) this.#dominant.add(key)
  }

  /** Says that a job waited for `wait` ms in vain. */
  wasted ({ key, expected }: Ticket, wait: number): void {
    // The limit can't be shorter than this, so it was not the limit that was too long.
    if (wait < this.#settings.targetWait) return
    this.#debt = Math.min(this.#settings.maxWait * this.#servers, this.#debt + expected)
    this.#dominant.add(key)
    this.#set(this.#learned - SHORTER * expected)
  }

  /** Says that the client of a job left after `wait` ms in the queue. */
  left (ticket: Ticket, wait: number): void {
    this.wasted(ticket, wait)
    if (!ticket.late && wait >= this.#settings.targetWait) this.#set(LEFT * this.#learned)
  }

  /** The wait limit of a key, in ms. */
  of (key: string): number {
    return this.#debt > 0 && this.#dominant.answers(key) ? this.#learned : this.#settings.orderWait
  }

  /**
   * Reports whether a key takes part in an overload: the work that waited in vain would have kept the servers busy for `orderWait`. Less of it is a burst
   * that some clients left, and nobody is refused for them.
   */
  overload (key: string): boolean {
    return this.#debt > this.#settings.orderWait * this.#servers && this.#dominant.answers(key)
  }

  #set (limit: number): void {
    const { targetWait, orderWait } = this.#settings
    this.#learned = Math.min(orderWait, Math.max(targetWait, limit))
  }
}
