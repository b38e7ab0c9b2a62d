/**
 * Admission: the decision to run a job, let it wait, or refuse it; bounded by count, by time and by deadline; fair to keys, priorities and names.
 *
 * The rule is "fresh first":
 * 1. Nothing tells a burst from the first second of an overload, so a wrong guess must be cheap.
 * 2. A job is fresh until it has waited for its key's wait limit, at first `orderWait`. Fresh jobs are served in the order of arrival.
 * 3. A job that has waited longer is late. Late jobs are served when nothing fresh of their key waits, the newest first.
 * 4. After a lone burst nothing newer comes, so all of it is served, though its end is served in another order.
 * 5. In an overload newcomers are served at once, and those who have waited long leave. A waiting job that leaves costs nothing.
 * 6. Work that waited in vain is remembered as debt, until threads have been idle for as long.
 * 7. While there is debt, the wait limit is learned: departures make it shorter, idle threads make it longer, and it is never below `targetWait`.
 * 8. Debt of more than `orderWait` of thread time is an overload. A job that would wait longer than the limit is then refused on arrival, and a job that
 *    has waited longer is refused if others have come since.
 * 9. Keys that do not stand out among the jobs that wait too long do not answer for the debt.
 * 10. Without an overload, a job is refused only if its key has more waiting than can be served within `maxWait`, or if it has waited for `maxWait`.
 *
 * The class is a state machine whose clock is an argument: the pool drives it in real time, the simulation of the tests in virtual time. An entry goes from
 * capped (its name has no free permit) to runnable, to taken, to done. It may be done from any state, and a taken entry that never started is put back.
 * Every operation costs O(log keys) or less, whatever waits.
 */
import type { Refusal } from '../../shared/errors.ts'
import { Estimates } from './estimates.ts'
import type { KeyQueue } from './key-queue.ts'
import { Line, type Bound } from './line.ts'
import type { QueueEntry } from './queue-entry.ts'
import type { WaitSettings } from './wait-limit.ts'

export { QueueEntry } from './queue-entry.ts'

export interface AdmissionSettings extends WaitSettings {
  /** Threads. One that died counts, since another takes its place at once. */
  threads: number
  /** Jobs that may wait. */
  maxQueue: number
  /** The threads that a name may hold, by job index; Infinity for no cap. */
  concurrency: readonly number[]
}

/** How a run ended: `completed`; `censored`, cut off, so that it would have taken longer; `unknown`, its time says nothing. */
export type RunOutcome = 'completed' | 'censored' | 'unknown'

export class Admission<T extends QueueEntry> {
  readonly #threads: number
  readonly #maxQueue: number
  readonly #onRefused: (entry: T, refusal: Refusal) => void
  readonly #estimates = new Estimates()
  /** The line of the threads: all that is runnable. */
  readonly #runnable: Line
  /** By job index: the line of a name with `concurrency`. Its jobs wait there for a permit. Their waiting is not the pool's overload. */
  readonly #capped: readonly (Line | undefined)[]
  #waiting = 0
  #sequence = 0

  /** @param onRefused receives the entries that had been admitted and are refused after all; by then they are out */
  constructor (settings: AdmissionSettings, onRefused: (entry: T, refusal: Refusal) => void) {
    const { threads, maxQueue, concurrency } = settings
    this.#threads = threads
    this.#maxQueue = maxQueue
    this.#onRefused = onRefused
    const line = (permits: number): Line => new Line(settings, Math.min(threads, permits), permits, this.#estimates, this.#refuse)
    this.#runnable = line(Infinity)
    this.#capped = concurrency.map((permits) => permits === Infinity ? undefined : line(permits))
  }

  /** Jobs admitted and not taken. */
  get waiting (): number {
    return this.#waiting
  }

  /** Jobs taken and not finished. */
  get running (): number {
    return this.#runnable.busy
  }

  /** Keys of which something is remembered. */
  get keys (): number {
    return this.#capped.reduce((keys, line) => keys + (line?.queue.keys ?? 0), this.#runnable.queue.keys)
  }

  /** The expected run time of a job, in ms, if it has ever run. */
  estimate (job: number): number | undefined {
    const { known, mean } = this.#estimates.of(job)
    return known ? mean : undefined
  }

  /** Lets a job wait from now on, or returns why it is refused. To let it wait, another may be refused. */
  offer (entry: T, now: number): Refusal | undefined {
    const line = this.#lineFor(entry)
    line.offered(now)
    const bound = this.#check(entry, line, now)
    if (bound !== undefined) {
      if (bound.reason === 'wait') line.limit.recordWait(entry, line.wait(entry))
      return this.#refusal(line, bound)
    }
    const evicted = entry.assured || !this.#isFull ? undefined : this.#evictable(entry, line)
    if (evicted !== undefined) this.#refuse(evicted, this.#countBound(entry, line), now)
    entry.sequence = ++this.#sequence
    this.#waiting++
    this.#enter(entry, now)
    return undefined
  }

  /** Reports whether a job that is offered now would be admitted. The check refuses no other job and changes nothing. */
  admits (entry: QueueEntry, now: number): boolean {
    return this.#check(entry, this.#lineFor(entry), now) === undefined
  }

  /** Returns the next job for a thread that is free. What has waited too long is refused on the way. */
  take (now: number): T | undefined {
    const entry = this.#runnable.next(now)
    return entry && this.#start(entry, now)
  }

  /** Returns the next job if almost every run of its name fits into `budget` ms, to be handed to a busy thread in advance. */
  takeShort (now: number, budget: number): T | undefined {
    const entry = this.#runnable.next(now)
    return entry && this.#estimates.of(entry.job).most <= budget ? this.#start(entry, now) : undefined
  }

  /** Puts a taken job that never started back at the head of its key. It had been admitted, so neither count nor wait refuses it now. */
  putBack (entry: T): void {
    if (entry.state !== 'taken') return
    entry.state = 'runnable'
    entry.assured = true
    this.#runnable.free(entry)
    this.#runnable.queue.restore(entry)
    this.#waiting++
  }

  /** Ends a taken job that ran for `run` ms. */
  finish (entry: T, now: number, run: number, outcome: RunOutcome): void {
    if (entry.state !== 'taken') return
    entry.state = 'done'
    const ms = run > 0 ? run : 0
    this.#runnable.free(entry, now)
    if (outcome === 'completed') this.#estimates.of(entry.job).sample(ms, now)
    else if (outcome === 'censored') this.#estimates.of(entry.job).censored(ms, now)
    this.#runnable.queue.settle(entry, ms)
    this.#releasePermit(entry, now)
  }

  /** Records that the client of a job has left. Returns true for a waiting job, which is out now. A taken job is the caller's to end, and finish() follows. */
  leave (entry: T, now: number): boolean {
    const { state } = entry
    if (state === 'new' || state === 'done') return false
    if (!entry.left) this.#lineOf(entry).limit.recordDeparture(entry, (state === 'taken' ? entry.takenAt : now) - entry.since)
    entry.left = true
    if (state === 'taken') return false
    this.#remove(entry, now)
    return true
  }

  /** Free threads. */
  get #free (): number {
    return Math.max(0, this.#threads - this.running)
  }

  /** Several jobs are offered before the first is taken, so those that a free thread is about to take don't wait for one. */
  get #passing (): number {
    return Math.min(this.#free, this.#runnable.queue.length)
  }

  get #isFull (): boolean {
    return this.#waiting - this.#passing >= this.#maxQueue
  }

  /** Returns the bound that an arriving job meets, if any. Changes nothing but the entry. */
  #check (entry: QueueEntry, line: Line, now: number): Bound | undefined {
    entry.arrived = entry.since = now
    entry.expected = this.#estimates.of(entry.job).mean
    entry.assured = line === this.#runnable && this.#passing < this.#free
    if (entry.assured) return undefined
    const bound = line.check(entry, now)
    if (bound !== undefined || !this.#isFull || this.#evictable(entry, line) !== undefined) return bound
    return this.#countBound(entry, line)
  }

  /** The line that an arriving job joins. */
  #lineFor ({ job }: QueueEntry): Line {
    const capped = this.#capped[job]
    return capped?.isFull === true ? capped : this.#runnable
  }

  /** The line in which a job waits. */
  #lineOf ({ job, state }: QueueEntry): Line {
    return (state === 'capped' ? this.#capped[job] : undefined) ?? this.#runnable
  }

  #enter (entry: QueueEntry, now: number): void {
    // The line is looked up again, because the eviction of another job may have freed a permit of this job's name.
    const line = this.#lineFor(entry)
    entry.state = line === this.#runnable ? 'runnable' : 'capped'
    if (line === this.#runnable) this.#capped[entry.job]?.occupy(entry, now)
    line.queue.push(entry)
  }

  #start (entry: QueueEntry, now: number): T {
    this.#runnable.limit.recordWait(entry, now - entry.since)
    this.#runnable.queue.shift(entry, now)
    this.#runnable.occupy(entry, now)
    entry.state = 'taken'
    entry.takenAt = now
    this.#waiting--
    return entry as T
  }

  #countBound (entry: QueueEntry, line: Line): Bound {
    return { reason: 'count', estimatedWait: line.wait(entry), limit: this.#maxQueue }
  }

  /**
   * Returns the job that is refused in place of an arriving one when too many wait: of the key with the most waiting, the job that would be served last.
   * Keys of equal length don't change places: otherwise a flood of new keys would evict everyone.
   */
  #evictable (entry: QueueEntry, line: Line): QueueEntry | undefined {
    const longest = this.#longest()
    const last = longest?.tail
    const length = (line.queue.find(entry)?.length ?? 0) + 1
    // A job that was promised a thread, or that a free thread is about to take, isn't evicted.
    const isPromised = last?.assured === true || (last?.state === 'runnable' && this.#runnable.queue.length <= this.#passing)
    return longest === undefined || isPromised || longest.length <= length ? undefined : last
  }

  /** The key with the most waiting, whether capped or runnable. */
  #longest (): KeyQueue | undefined {
    let { longest } = this.#runnable.queue
    for (const line of this.#capped) {
      const other = line?.queue.longest
      if (other !== undefined && other.length > (longest?.length ?? 0)) longest = other
    }
    return longest
  }

  /** Gives back the permit of a name with `concurrency`: the next of its jobs becomes runnable, at its place in the order of arrival. */
  #releasePermit (entry: QueueEntry, now: number): void {
    const line = this.#capped[entry.job]
    if (line === undefined) return
    line.free(entry, now)
    const next = line.next(now)
    // The line may be full again: a listener to a refusal may have offered another job meanwhile.
    if (next === undefined || line.isFull) return
    line.limit.recordWait(next, now - next.since)
    line.queue.shift(next, now)
    line.queue.settle(next, next.charged)
    line.occupy(next, now)
    next.state = 'runnable'
    next.since = now
    this.#runnable.queue.insert(next)
  }

  #remove (entry: QueueEntry, now: number): void {
    const { state } = entry
    this.#lineOf(entry).queue.remove(entry)
    entry.state = 'done'
    this.#waiting--
    if (state === 'runnable') this.#releasePermit(entry, now)
  }

  readonly #refuse = (entry: QueueEntry, bound: Bound, now: number): void => {
    const line = this.#lineOf(entry)
    line.limit.recordWaste(entry, now - entry.since)
    const refusal = this.#refusal(line, bound)
    this.#remove(entry, now)
    this.#onRefused(entry as T, refusal)
  }

  #refusal ({ retryAfter }: Line, { reason, estimatedWait, limit }: Bound): Refusal {
    return { reason, waiting: this.#waiting, estimatedWait, limit, retryAfter }
  }
}
