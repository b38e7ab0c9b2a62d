/**
 * Admission: the decision to run work, let it wait, or refuse it; bounded by count, by time and by deadline; fair to
 * keys, priorities and names. Time and order are the line's (line.ts). Admission adds the bound on the count, and the
 * names that may hold only some of the servers.
 *
 * The class is a state machine whose clock is an argument: the pool drives it in real time, the simulation of the tests
 * in virtual time. An entry goes from capped (its name has no free permit) to runnable, to taken, to done. It may be
 * done from any state, and a taken entry that never started is put back.
 */
import type { Refusal } from '../../shared/errors.ts'
import { LEAST_COST_MS, type Entry } from './entry.ts'
import { Estimates, grains } from './estimates.ts'
import { Line, type Bound } from './line.ts'
import type { WaitSettings } from './overload.ts'

export { Entry } from './entry.ts'

export interface AdmissionSettings extends WaitSettings {
  /** Servers. One that died counts, since another takes its place at once. */
  threads: number
  /** Entries that may wait. */
  maxQueue: number
  /** The servers that a name may hold, by the index of the name; Infinity for no cap. */
  concurrency: readonly number[]
}

/**
 * How a run ended: `completed`; `censored`, cut off, so that it would have taken longer; `unknown`, its time says
 * nothing.
 */
export type RunOutcome = 'completed' | 'censored' | 'unknown'

export class Admission<T extends Entry> {
  readonly #threads: number
  readonly #maxQueue: number
  readonly #onRefused: (entry: T, refusal: Refusal) => void
  readonly #estimates = new Estimates()
  /**
   * Entries that found a server free while nobody had to wait: those that are about to be taken, and those that were.
   * The queue doesn't count them.
   */
  readonly #assured: T[] = []
  readonly #uncounted: T[] = []
  /** The line of the servers: all that is runnable. */
  readonly #runnable: Line<T>
  /**
   * By the index of a name with `concurrency`: the line in which its entries wait for a permit. Their waiting is not an
   * overload of the servers.
   */
  readonly #capped: readonly (Line<T> | undefined)[]
  #waiting = 0
  /** Entries that wait or run, and whose keys had not run before. */
  #strangers = 0
  #sequence = 0

  /** @param onRefused receives the entries that had been admitted and are refused after all; by then they are out */
  constructor (settings: AdmissionSettings, onRefused: (entry: T, refusal: Refusal) => void) {
    const { threads, maxQueue, concurrency } = settings
    this.#threads = threads
    this.#maxQueue = maxQueue
    this.#onRefused = onRefused
    const line = (permits: number): Line<T> =>
      new Line<T>(settings, Math.min(threads, permits), permits, this.#estimates, this.#refuse)
    this.#runnable = line(Infinity)
    this.#capped = concurrency.map((permits) => permits === Infinity ? undefined : line(permits))
  }

  /** Entries admitted and not taken. */
  get waiting (): number {
    return this.#waiting
  }

  /** Entries taken and not finished. */
  get running (): number {
    return this.#runnable.busy
  }

  /** Keys of which something is remembered. */
  get keys (): number {
    return this.#capped.reduce((keys, line) => keys + (line?.queue.keys ?? 0), this.#runnable.queue.keys)
  }

  /** The expected run time of a name, in ms, if it has ever run. */
  estimate (job: number): number | undefined {
    const { known, mean } = this.#estimates.of(job)
    return known ? mean : undefined
  }

  /** Lets an entry wait from now on, or returns why it is refused. To let it wait, another may be refused. */
  offer (entry: T, now: number): Refusal | undefined {
    const line = this.#lineFor(entry)
    if (line === this.#runnable && this.#hasServer) return this.#assure(entry, now)
    this.#countAll()
    line.offered(now)
    const bound = this.#check(entry, line, now)
    if (bound !== undefined) return this.#refusal(line, bound)
    const evicted = entry.assured || !this.#isFull ? undefined : this.#evictable(entry, line)
    if (evicted !== undefined) this.#refuse(evicted, this.#countBound(entry, line), now)
    this.#admit(entry)
    this.#enter(entry, now)
    return undefined
  }

  /** Whether there is a server for an entry that comes now, and nobody has to wait. */
  get #hasServer (): boolean {
    return this.#waiting === this.#assured.length && this.#waiting < this.#free
  }

  /** The short way: an entry that finds a server free needs no queue, and its key no account. */
  #assure (entry: T, now: number): undefined {
    this.#expect(entry, now)
    this.#admit(entry)
    entry.assured = true
    entry.state = 'runnable'
    this.#capped[entry.job]?.occupy(entry, now)
    this.#assured.push(entry)
  }

  #admit (entry: T): void {
    entry.sequence = ++this.#sequence
    this.#waiting++
    if (entry.isStranger) this.#strangers++
  }

  /** Somebody has to wait. From now on keys share the servers, and those entries count that have come the short way. */
  #countAll (): void {
    // To set the length of an array, even of an empty one, takes 0.3 µs in V8: a tenth of a short job.
    if (this.#uncounted.length + this.#assured.length === 0) return
    const { queue } = this.#runnable
    for (const entry of this.#uncounted) queue.count(entry)
    for (const entry of this.#assured) queue.push(entry)
    this.#uncounted.length = this.#assured.length = 0
  }

  #expect (entry: Entry, now: number): void {
    entry.arrived = entry.since = now
    const own = this.#estimates.ofKey(entry.job, entry.key, now)
    entry.isStranger = own === undefined
    entry.expected = this.#expected(entry, own)
  }

  /**
   * Reports whether an entry that is offered now would be admitted. The check refuses no other entry and changes
   * nothing.
   */
  admits (entry: Entry, now: number): boolean {
    const line = this.#lineFor(entry)
    if (line === this.#runnable && this.#hasServer) return true
    this.#countAll()
    return this.#check(entry, line, now) === undefined
  }

  /** Returns the next entry for a server that is free. What has waited too long is refused on the way. */
  take (now: number): T | undefined {
    const entry = this.#assured.shift() ?? this.#next(this.#runnable, now)
    return entry && this.#start(entry, now)
  }

  /**
   * Returns the next entry if almost every run of its name fits into `budget` ms, to be handed to a busy thread in
   * advance.
   */
  takeShort (now: number, budget: number): T | undefined {
    const entry = this.#next(this.#runnable, now)
    return entry && this.#estimates.of(entry.job).most <= budget ? this.#start(entry, now) : undefined
  }

  /**
   * Puts a taken entry that never started back at the head of its key. It had been admitted, so neither count nor wait
   * refuses it now.
   */
  putBack (entry: T): void {
    if (entry.state !== 'taken') return
    this.#countAll()
    entry.state = 'runnable'
    entry.assured = true
    this.#runnable.free(entry)
    this.#runnable.queue.restore(entry)
    this.#waiting++
  }

  /**
   * Ends a taken entry that ran for `run` ms.
   *
   * @param held how long the entry kept its server, in ms, until another one could begin there
   */
  finish (entry: T, now: number, run: number, outcome: RunOutcome, held = run): void {
    if (entry.state !== 'taken') return
    this.#done(entry)
    const ms = run > 0 ? run : 0
    this.#runnable.free(entry, now)
    if (entry.queue === undefined) remove(this.#uncounted, entry)
    if (outcome !== 'unknown') this.#estimates.sample(entry.job, entry.key, ms, now, outcome === 'censored')
    this.#runnable.ran(entry, ms, held)
    this.#capped[entry.job]?.ranAfterGrant(entry, ms, held)
    this.#releasePermit(entry, now)
  }

  /**
   * Records that the client of an entry has left. Returns true for a waiting entry, which is out now. A taken entry is
   * the caller's to end, and finish() follows.
   */
  leave (entry: T, now: number): boolean {
    const { state } = entry
    if (state === 'new' || state === 'done') return false
    if (!entry.left) this.#lineOf(entry).left(entry, (state === 'taken' ? entry.takenAt : now) - entry.since)
    entry.left = true
    if (state === 'taken') return false
    this.#remove(entry, now)
    return true
  }

  /** Free servers. */
  get #free (): number {
    return Math.max(0, this.#threads - this.running)
  }

  /**
   * Several entries are offered before the first is taken, so those that a free server is about to take don't wait for
   * one.
   */
  get #passing (): number {
    return Math.min(this.#free, this.#runnable.queue.length)
  }

  get #isFull (): boolean {
    return this.#waiting - this.#passing >= this.#maxQueue
  }

  /** Returns the bound that an arriving entry meets, if any. Changes nothing but the entry. */
  #check (entry: Entry, line: Line<T>, now: number): Bound | undefined {
    this.#expect(entry, now)
    entry.assured = line === this.#runnable && this.#passing < this.#free
    if (entry.assured) return undefined
    const bound = line.check(entry, now)
    if (bound !== undefined || !this.#isFull || this.#evictable(entry, line) !== undefined) return bound
    return this.#countBound(entry, line)
  }

  /**
   * The run time that is expected of an entry, in ms. That of a key that hasn't run yet is that of others of its name,
   * but much less for a stranger among keys that have run: otherwise a light key would wait for a whole round of the
   * others, or be refused for it, before it could show that it is light. Where all are strangers, none of them comes
   * before a key that is known to be light.
   */
  #expected ({ job }: Entry, own: number | undefined): number {
    if (own !== undefined) return Math.max(LEAST_COST_MS, own)
    const known = Math.max(1, this.#runnable.queue.activeClients - this.#strangers)
    const { ofOthers = 0 } = this.#estimates.ofStrangers(job) ?? {}
    return Math.max(LEAST_COST_MS, grains(ofOthers * Math.min(1, this.#strangers / known)))
  }

  /**
   * Returns the entry of a line that is served next. What is expected of a stranger is looked up again at its turn, as
   * more keys have run since it came: otherwise strangers would come before light keys, when all begin at once. Half is
   * near enough, so that each entry is moved a few times at most.
   */
  #next (line: Line<T>, now: number): T | undefined {
    const { queue } = line
    for (let head = queue.next?.head; head?.isStranger === true; head = queue.next?.head) {
      const expected = this.#expected(head, this.#estimates.ofKey(head.job, head.key, now))
      if (expected < 2 * head.expected) break
      queue.expect(head, expected)
    }
    return line.next(now)
  }

  /** The line that an arriving entry joins. */
  #lineFor ({ job }: Entry): Line<T> {
    const capped = this.#capped[job]
    return capped?.isFull === true ? capped : this.#runnable
  }

  /** The line in which an entry waits. */
  #lineOf ({ job, state }: T): Line<T> {
    return (state === 'capped' ? this.#capped[job] : undefined) ?? this.#runnable
  }

  #enter (entry: T, now: number): void {
    // The line is looked up again, because the eviction of another entry may have freed a permit of this entry's name.
    const line = this.#lineFor(entry)
    entry.state = line === this.#runnable ? 'runnable' : 'capped'
    if (line === this.#runnable) this.#capped[entry.job]?.occupy(entry, now)
    else this.#runnable.queue.hold(entry)
    line.queue.push(entry)
  }

  #start (entry: T, now: number): T {
    if (entry.queue === undefined) this.#uncounted.push(entry)
    else this.#runnable.queue.take(entry)
    this.#runnable.occupy(entry, now)
    entry.state = 'taken'
    entry.takenAt = now
    this.#waiting--
    return entry
  }

  #countBound (entry: Entry, line: Line<T>): Bound {
    return { reason: 'count', estimatedWait: line.wait(entry), limit: this.#maxQueue }
  }

  /**
   * Returns the entry that is refused in place of an arriving one when too many wait: the one that would be served
   * last, if that is after the arriving one. So a flood of one key, or of keys that come once, evicts nobody and is
   * evicted by keys that ask for less.
   */
  #evictable (entry: Entry, line: Line<T>): T | undefined {
    let last = this.#runnable.queue.last
    for (const each of this.#capped) {
      const other = each?.queue.last
      if (other !== undefined && other.until > (last?.until ?? 0)) last = other
    }
    const tail = last?.queue.tail
    // An entry that was promised a server, or that a free server is about to take, isn't evicted.
    const isPromised = tail?.assured === true ||
      (tail?.state === 'runnable' && this.#runnable.queue.length <= this.#passing)
    return last === undefined || isPromised || last.until <= line.queue.until(entry) ? undefined : tail as T
  }

  /**
   * Gives back the permit of a name with `concurrency`: the next of its entries becomes runnable, at its place in the
   * order of arrival.
   */
  #releasePermit (entry: T, now: number): void {
    const line = this.#capped[entry.job]
    if (line === undefined) return
    line.free(entry, now)
    const next = this.#next(line, now)
    // The line may be full again: a listener to a refusal may have offered another entry meanwhile.
    if (next === undefined || line.isFull) return
    line.grant(next)
    line.occupy(next, now)
    next.state = 'runnable'
    next.since = now
    this.#runnable.queue.insert(next)
  }

  #done (entry: T): void {
    entry.state = 'done'
    if (entry.isStranger) this.#strangers--
  }

  #remove (entry: T, now: number): void {
    const { state } = entry
    if (entry.queue === undefined) remove(this.#assured, entry)
    else this.#lineOf(entry).queue.remove(entry)
    if (state === 'capped') this.#runnable.queue.drop(entry)
    this.#done(entry)
    this.#waiting--
    if (state === 'runnable') this.#releasePermit(entry, now)
  }

  readonly #refuse = (entry: T, bound: Bound, now: number): void => {
    const line = this.#lineOf(entry)
    line.refused(entry, now)
    const refusal = this.#refusal(line, bound)
    this.#remove(entry, now)
    this.#onRefused(entry, refusal)
  }

  #refusal ({ retryAfter }: Line<T>, { reason, estimatedWait, limit }: Bound): Refusal {
    return { reason, waiting: this.#waiting, estimatedWait, limit, retryAfter }
  }
}

/** There are no more entries than servers. */
function remove<T> (entries: T[], entry: T): void {
  entries.splice(entries.indexOf(entry), 1)
}
