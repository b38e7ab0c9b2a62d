/**
 * A line: jobs that wait, the servers that they wait for, and the rule "fresh first" that admission.ts explains. The servers are the threads, or the
 * permits of a name with `concurrency`.
 */
import { wholeSeconds } from '../../shared/coded-error.ts'
import type { Refusal } from '../../shared/errors.ts'
import type { Estimates } from './estimates.ts'
import { FairQueue } from './fair-queue.ts'
import type { QueueEntry } from './queue-entry.ts'
import { WaitLimit, type WaitSettings } from './wait-limit.ts'

/** A bound that a job met, with the wait (in ms) that met it. */
export interface Bound {
  reason: Refusal['reason']
  estimatedWait: number
  limit: number
}

export class Line {
  readonly queue: FairQueue
  readonly limit: WaitLimit
  /** Jobs of the line that can run at a time. */
  readonly servers: number
  /** Servers that jobs may occupy at a time, with those that were handed over in advance. */
  readonly #permits: number
  readonly #settings: WaitSettings
  readonly #estimates: Estimates
  readonly #onUnfit: (entry: QueueEntry, bound: Bound, now: number) => void
  /** Servers that are occupied. More than `servers` while threads hold jobs that were handed to them in advance. */
  #busy = 0
  /** The expected run time of the jobs that occupy the servers, in ms. */
  #underWay = 0
  /** When a job was last offered to the line, whether it was admitted or refused. */
  #offeredAt = -Infinity

  /** @param onUnfit removes a job that may wait no longer */
  constructor (settings: WaitSettings, servers: number, permits: number, estimates: Estimates, onUnfit: (entry: QueueEntry, bound: Bound, now: number) => void) {
    this.queue = new FairQueue(estimates)
    this.limit = new WaitLimit(settings, servers)
    this.servers = servers
    this.#permits = permits
    this.#settings = settings
    this.#estimates = estimates
    this.#onUnfit = onUnfit
  }

  get busy (): number {
    return this.#busy
  }

  /** Whether a job has to wait for a permit. */
  get isFull (): boolean {
    return this.#busy >= this.#permits
  }

  /** Occupies a server. */
  occupy (entry: QueueEntry, now: number): void {
    this.#advance(now)
    this.#busy++
    this.#underWay += entry.expected
  }

  /** Frees a server. Without a time, the server counts as busy until now. */
  free (entry: QueueEntry, now?: number): void {
    if (now !== undefined) this.#advance(now)
    this.#busy--
    this.#underWay -= entry.expected
  }

  /** How long an arriving job would wait while it is fresh, in ms. */
  wait (entry: QueueEntry): number {
    return this.queue.freshWorkBefore(entry) / this.servers
  }

  /** The time in which the servers do all that waits and runs, in whole seconds and at least one. Running jobs count with their whole expected run time. A client that retries after this time finds a free server unless others came. */
  get retryAfter (): number {
    return wholeSeconds((this.queue.work + this.#underWay) / this.servers)
  }

  /** Records that a job is offered, and removes what has waited longer than any job may, except for the last one. */
  offered (now: number): void {
    this.#advance(now)
    this.#expire(now)
    this.#offeredAt = now
  }

  /** Returns the bound that an arriving job meets, if any, and remembers nothing of it. A name that never ran is bounded by count only. */
  check (entry: QueueEntry, now: number): Bound | undefined {
    this.#advance(now)
    const estimate = this.#estimates.of(entry.job)
    if (!estimate.known) return undefined
    const wait = this.wait(entry)
    const left = entry.deadline - now
    if (wait + estimate.least(now) > left) return { reason: 'deadline', estimatedWait: wait, limit: left }
    const limit = this.limit.of(entry.key)
    if (wait <= limit) return undefined
    const { maxWait } = this.#settings
    const backlog = this.#backlog(entry, entry.expected)
    if (this.limit.isOverloaded(entry.key)) return { reason: 'wait', estimatedWait: wait, limit }
    return backlog <= maxWait ? undefined : { reason: 'wait', estimatedWait: backlog, limit: maxWait }
  }

  /** Returns the next job to be served. On the way, jobs that have waited longer than their key's wait limit become late or are removed. */
  next (now: number): QueueEntry | undefined {
    this.#advance(now)
    this.#expire(now)
    for (let queue = this.queue.next(); queue !== undefined; queue = this.queue.next()) {
      const limit = this.limit.of(queue.key)
      const oldest = queue.oldestFresh
      // The last one is served however long it has waited: to refuse it would leave the thread idle.
      if (oldest !== undefined && !oldest.assured && now - oldest.since > limit && this.queue.length > 1) {
        // If no job has arrived since, a refusal would speed up no other job, so the entry is postponed instead.
        const givesWay = this.limit.isOverloaded(queue.key) && now - this.#offeredAt <= limit
        if (givesWay || this.#backlog(oldest, 0) > this.#settings.maxWait) this.#remove(oldest, limit, now)
        else this.queue.postpone(queue)
      } else if (queue.isLate && !queue.demoted && now - queue.servedAt > limit) this.queue.demote(queue)
      else {
        const { head } = queue
        if (head === undefined) return undefined
        const left = head.deadline - now
        if (head.assured || this.#estimates.of(head.job).least(now) <= left) return head
        this.#onUnfit(head, { reason: 'deadline', estimatedWait: now - head.since, limit: left }, now)
      }
    }
    return undefined
  }

  /** Call this method before servers become busy or idle, and before the wait limit is asked for. */
  #advance (now: number): void {
    this.limit.advance(now, Math.max(0, this.servers - this.#busy))
  }

  #expire (now: number): void {
    const { maxWait } = this.#settings
    for (let { oldest } = this.queue; oldest !== undefined && this.queue.length > 1; { oldest } = this.queue) {
      if (now - oldest.since <= maxWait) return
      this.#remove(oldest, maxWait, now)
    }
  }

  /**
   * The time in which the line could serve what waits of a key, and `more` ms of work, at the key's share of the servers. Only the certain part of it counts:
   * otherwise the slow jobs of one client would raise the mean of their name, and the next burst of quick jobs of all others would be refused.
   */
  #backlog (entry: QueueEntry, more: number): number {
    return this.queue.workUntil(entry, more) / this.servers * this.#estimates.of(entry.job).certainty
  }

  #remove (entry: QueueEntry, limit: number, now: number): void {
    this.#onUnfit(entry, { reason: 'shed', estimatedWait: now - entry.since, limit }, now)
  }
}
