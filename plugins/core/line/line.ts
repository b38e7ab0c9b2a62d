/**
 * A line: work that waits for servers, in fair order, bounded by time. The servers are the threads of a pool, the
 * permits of a name, or the event loop.
 *
 * The rule:
 * 1. Keys share the servers by measured time, always (fair-queue.ts). Waiting alone is no evidence of an overload:
 *    without one, an entry is refused only if its key has more waiting than can be served within `maxWait`, or if it
 *    has waited for `maxWait`.
 * 2. Within a key, entries are served in the order of arrival. Newest first was rejected: clients that share a key
 *    would starve.
 * 3. Work that waited and was left or refused is the debt of its key. Much debt is an overload, of the key or of all
 *    (overload.ts).
 * 4. In an overload, an arrival that would wait longer than the limit in fair order is refused at once, and an entry
 *    that has waited longer is refused if others have come since. The limit is learned: departures make it shorter,
 *    idle servers make it longer.
 *
 * Every operation costs O(log keys) or less, whatever waits, but for an arrival in an overload: O(keys that are served
 * within the limit). The time is an argument.
 */
import { wholeSeconds } from '../../shared/coded-error.ts'
import type { Refusal } from '../../shared/errors.ts'
import type { Entry } from './entry.ts'
import type { Estimates } from './estimates.ts'
import { FairQueue } from './fair-queue.ts'
import { Overload, type WaitSettings } from './overload.ts'

/** A bound that an entry met, with the wait (in ms) that met it. */
export interface Bound {
  reason: Refusal['reason']
  estimatedWait: number
  limit: number
}

/**
 * An entry is not refused at its turn before it has waited for so many runs, since a server may not have become free
 * before. With 1, jobs of 1 ms beside those of 300 ms on one thread were refused in vain.
 */
const RUNS = 2
/** The weight of earlier runs, once another one is measured. */
const EARLIER = 0.95

export class Line<T extends Entry> {
  readonly queue: FairQueue<T>
  /** Entries that can run at a time. */
  readonly servers: number
  readonly #overload: Overload
  /** The server time, in ms, for which servers have been idle since `#overload` was last asked, until `#at`. */
  #idle = 0
  #at = 0
  /** The last reading of `settings.idle`. */
  #idleAt = 0
  /** Servers that may be occupied at a time, with those that were handed over in advance. */
  readonly #permits: number
  readonly #settings: WaitSettings
  readonly #estimates: Estimates
  readonly #onUnfit: (entry: T, bound: Bound, now: number) => void
  /** Servers that are occupied. More than `servers` while threads hold jobs that were handed to them in advance. */
  #busy = 0
  /** The expected run time of the entries that occupy the servers, in ms. */
  #underWay = 0
  /** When an entry was last offered to the line, whether it was admitted or refused. */
  #offeredAt = -Infinity
  /** The recent run times, and their squares: sums in which earlier runs count for less. */
  #runs = 0
  #squares = 0
  /** For how long those runs kept their servers, in ms. */
  #held = 0

  /** @param onUnfit removes an entry that may wait no longer */
  constructor (settings: WaitSettings, servers: number, permits: number, estimates: Estimates,
    onUnfit: (entry: T, bound: Bound, now: number) => void) {
    this.#overload = new Overload(settings, servers, () => this.#speed)
    this.queue = new FairQueue((client) => this.#evidence.forget(client))
    this.servers = servers
    this.#permits = permits
    this.#settings = settings
    this.#estimates = estimates
    this.#onUnfit = onUnfit
  }

  get busy (): number {
    return this.#busy
  }

  /** Whether an entry has to wait for a permit. */
  get isFull (): boolean {
    return this.#busy >= this.#permits
  }

  /** Occupies a server. */
  occupy (entry: T, now: number): void {
    this.#advance(now)
    this.#busy++
    this.#underWay += entry.expected
  }

  /** Frees a server. Without a time, the server counts as busy until now. */
  free (entry: T, now?: number): void {
    if (now !== undefined) this.#advance(now)
    this.#busy--
    this.#underWay -= entry.expected
  }

  /** How long an arriving entry would wait at most, in ms. */
  wait (entry: Entry): number {
    return this.queue.workBefore(entry) / this.servers
  }

  /**
   * The time in which the servers do all that waits and runs, in whole seconds and at least one. Running work counts
   * with its whole expected run time. A client that retries after this time finds a free server unless others came.
   */
  get retryAfter (): number {
    return wholeSeconds(this.work)
  }

  /** The time in which the servers do all that waits and runs, in ms. */
  get work (): number {
    return (this.queue.work + this.#underWay) / this.servers
  }

  /** How long an entry may wait in an overload, in ms. */
  get limit (): number {
    return this.#evidence.limit
  }

  /**
   * Records that an entry is offered, and removes what has waited longer than any entry may, except for the last one.
   */
  offered (now: number): void {
    this.#advance(now)
    this.#expire(now)
    this.#offeredAt = now
  }

  /**
   * Returns the bound that an arriving entry meets, if any, and remembers nothing of it. A name that never ran is
   * bounded by count only.
   */
  check (entry: Entry, now: number): Bound | undefined {
    this.#advance(now)
    const estimate = this.#estimates.for(entry)
    if (estimate?.known !== true) return undefined
    const estimatedWait = this.wait(entry)
    // Only the certain part of the wait counts, but in an overload: otherwise the slow jobs of one client would raise
    // the mean of their name, and the next burst of quick jobs of all others would be refused.
    const certainty = entry.isStranger ? estimate.certaintyOfOthers(now) : estimate.certainty
    const isLonger = (ms: number, part = certainty): boolean =>
      estimatedWait * part > ms && this.queue.isBehind(ms / part * this.servers, entry)
    const left = entry.deadline - now
    if (isLonger(left - estimate.least(now))) return { reason: 'deadline', estimatedWait, limit: left }
    const { limit } = this.#evidence
    const speed = this.#speed
    if (estimatedWait <= limit * speed) return undefined
    if (this.#evidence.covers(this.queue.client(entry), entry.clientKey) && isLonger(limit * speed, 1)) {
      return { reason: 'wait', estimatedWait: estimatedWait / speed, limit }
    }
    const { maxWait } = this.#settings
    return isLonger(maxWait) ? { reason: 'wait', estimatedWait, limit: maxWait } : undefined
  }

  /**
   * Returns the next entry to be served. On the way, entries that an overload or their deadline leaves no chance are
   * removed.
   */
  next (now: number): T | undefined {
    this.#advance(now)
    this.#expire(now)
    for (let queue = this.queue.next; queue !== undefined; queue = this.queue.next) {
      const head = queue.head as T
      if (head.assured) return head
      const left = head.deadline - now
      const limit = Math.max(this.#evidence.limit, RUNS * this.#run / this.#speed)
      if ((this.#estimates.for(head)?.least(now) ?? 0) > left) {
        this.#onUnfit(head, { reason: 'deadline', estimatedWait: now - head.since, limit: left }, now)
      } else if (now - head.since > limit && this.#isOthersTurn(head, limit, now)) this.#remove(head, limit, now)
      else return head
    }
    return undefined
  }

  /**
   * Reports whether a refusal would speed up others: the key is overloaded, others have come since, and the server
   * would not be left idle.
   */
  #isOthersTurn (head: T, limit: number, now: number): boolean {
    return this.queue.length > 1 && now - this.#offeredAt <= limit &&
      this.#evidence.covers(this.queue.client(head), head.clientKey)
  }

  /** Records that the client of an entry has left, which had waited for `wait` ms until then, or until it was taken. */
  left (entry: T, wait: number): void {
    this.#recordWaste(entry, wait, true)
  }

  /**
   * Records that a waiting entry is refused. Nobody is to blame for what waited for a long round: for a single entry of
   * a key, or for one that waited for `maxWait`.
   */
  refused (entry: T, now: number): void {
    const wait = now - entry.since
    const isOne = this.queue.client(entry)?.length === 1
    if (!isOne && wait <= this.#settings.maxWait) this.#recordWaste(entry, wait, false)
  }

  /**
   * Records that a taken entry has run for `run` ms, and kept its server for `held` ms. The account of its key is
   * settled, if it was charged.
   */
  ran (entry: T, run: number, held = run): void {
    this.#measure(run, held)
    if (entry.queue === undefined) return
    this.#served(entry, run, entry.takenAt - entry.since)
    this.queue.settle(entry, run)
  }

  /** Takes out an entry that has its permit. Its key is charged with what is expected, and later with the rest. */
  grant (entry: T): void {
    this.queue.take(entry)
    this.queue.settle(entry, entry.expected)
    entry.charged = entry.expected
  }

  /** Records that an entry which had its permit here has run for `run` ms, and kept its server for `held` ms. */
  ranAfterGrant (entry: T, run: number, held: number): void {
    this.#measure(run, held)
    this.#served(entry, run, entry.since - entry.arrived)
    this.queue.charge(entry, run - entry.charged)
  }

  #measure (run: number, held: number): void {
    this.#runs = EARLIER * this.#runs + run
    this.#squares = EARLIER * this.#squares + run * run
    this.#held = EARLIER * this.#held + held
  }

  /**
   * The part of their time that servers work, while they are kept. It is less than 1 if an event loop that is short of
   * CPU hears of the end of a run long after it: then the servers can do much less than the run times say.
   */
  get #speed (): number {
    return this.#held > this.#runs ? this.#runs / this.#held : 1
  }

  #served (entry: T, run: number, wait: number): void {
    const { queue } = this
    if (!entry.left) this.#evidence.recordServed(entry, queue.client(entry), run, wait, queue.activeClients)
  }

  /** The mean run, weighted by time: how long a server that is busy at some moment is busy in all, in ms. */
  get #run (): number {
    return this.#runs === 0 ? 0 : this.#squares / this.#runs
  }

  /** Call this method before servers become busy or idle, and before the wait limit is asked for. */
  #advance (now: number): void {
    // A clock that went backwards counts as no time.
    if (this.#settings.idle === undefined) {
      this.#idle += Math.max(0, now - this.#at) * Math.max(0,
        this.servers - this.#busy)
    }
    this.#at = now
  }

  /** The overload, which knows how long servers have been idle. */
  get #evidence (): Overload {
    const { idle: read } = this.#settings
    if (read !== undefined) {
      const idleAt = read()
      this.#idle += idleAt - this.#idleAt
      this.#idleAt = idleAt
    }
    if (this.#idle > 0) this.#overload.recordIdle(this.#idle)
    this.#idle = 0
    return this.#overload
  }

  #expire (now: number): void {
    const { maxWait } = this.#settings
    for (let { oldest } = this.queue; oldest !== undefined && this.queue.length > 1; { oldest } = this.queue) {
      if (now - oldest.since <= maxWait) return
      this.#remove(oldest, maxWait, now)
    }
  }

  #remove (entry: T, limit: number, now: number): void {
    this.#onUnfit(entry, { reason: 'shed', estimatedWait: now - entry.since, limit }, now)
  }

  #recordWaste (entry: T, wait: number, hasLeft: boolean): void {
    const { queue } = this
    const client = queue.client(entry)
    if (client !== undefined) this.#evidence.recordWaste(client, wait, entry.expected, queue.activeClients, hasLeft)
  }
}
