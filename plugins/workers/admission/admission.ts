/**
 * The decision to run a job, let it wait, or refuse it: bounded by count, by time and by deadline; fair to keys, classes and names.
 *
 * A state machine whose clock is an argument: the pool drives it in real time, the tests' simulation in virtual time. A ticket is
 *   held (its name's cap has no place for it) → runnable → taken → gone
 * and may go from held or runnable to gone (refused, or its client left), and from taken back to runnable (its thread died before it started).
 * Every operation costs O(log keys) or less, whatever waits.
 */
import type { Refusal, RefusalReason } from '../../shared/errors.ts'
import { Estimates } from './estimates.ts'
import { FairQueue } from './fair-queue.ts'
import type { Flow } from './key-queue.ts'
import type { Ticket } from './queue-entry.ts'
import { WaitLimit, type WaitSettings } from './wait-limit.ts'

export { Ticket, type Priority } from './queue-entry.ts'

export interface AdmissionSettings extends WaitSettings {
  /** Threads; one that died counts, since another takes its place at once. */
  threads: number
  /** Jobs that may wait. */
  maxQueue: number
  /** By job index: the threads that a name may hold; Infinity for no cap. */
  concurrency: readonly number[]
}

export const admissionDefaults = { maxQueue: 1_000, maxWait: 10_000, orderWait: 1_000, targetWait: 100 } as const

/** How the run ended: `completed`; `censored`, cut off, so that it would have taken longer; `unknown`, its time says nothing. */
export type Outcome = 'completed' | 'censored' | 'unknown'

/** A queue and the servers that it waits for: the threads, or the places under the cap of one name. */
interface Line {
  readonly queue: FairQueue
  readonly limit: WaitLimit
  readonly servers: number
  /** The jobs that may hold a place at a time: a name's cap. */
  readonly cap: number
  /** The capped name, -1 for the line of the threads. */
  readonly job: number
  /** Jobs of a capped name that are runnable or taken. Invariant: never more than `cap`, so what is runnable can be taken, and take() never has to search. */
  holding: number
  /** When a job was last offered to the line, be it admitted or refused. */
  offeredAt: number
}

export class Admission<T extends Ticket> {
  readonly #settings: AdmissionSettings
  readonly #onRefused: (ticket: T, refusal: Refusal) => void
  readonly #estimates: Estimates
  readonly #runnable: Line
  /** By job index: where jobs wait for a place under their cap. Their waiting is not the pool's overload, so it is not in the runnable line. */
  readonly #capped: readonly (Line | undefined)[]
  readonly #threads: number
  #running = 0
  /** The expected run time of the jobs taken and not finished, in ms. */
  #underWay = 0
  #waiting = 0
  #sequence = 0

  /** `onRefused` gets the tickets that had been admitted and are refused after all; by then they are out. */
  constructor (settings: AdmissionSettings, onRefused: (ticket: T, refusal: Refusal) => void) {
    this.#settings = settings
    this.#onRefused = onRefused
    this.#threads = settings.threads
    this.#estimates = new Estimates(settings.concurrency.length)
    this.#runnable = this.#line(-1, Infinity)
    this.#capped = settings.concurrency.map((cap, job) => cap === Infinity ? undefined : this.#line(job, cap))
  }

  /** Jobs admitted and not taken. */
  get waiting (): number {
    return this.#waiting
  }

  /** Jobs taken and not finished. */
  get running (): number {
    return this.#running
  }

  /** Keys of which something is remembered. */
  get keys (): number {
    return this.#capped.reduce((keys, line) => keys + (line?.queue.keys ?? 0), this.#runnable.queue.keys)
  }

  /** The expected run time of a job, in ms, if it has ever run. */
  estimate (job: number): number | undefined {
    return this.#estimates.known(job) ? this.#estimates.mean(job) : undefined
  }

  /** The job waits from now on (undefined), or is refused. To let it wait, another may be refused. */
  offer (ticket: T, now: number): Refusal | undefined {
    ticket.arrived = ticket.since = now
    ticket.expected = this.#estimates.mean(ticket.job)
    const line = this.#lineFor(ticket)
    this.#advance(line, now)
    this.#expire(line, now)
    line.offeredAt = now
    // Several jobs are offered before the first is taken, so those that a free thread is about to take don't wait for one.
    const free = Math.max(0, this.#threads - this.#running)
    const passing = Math.min(free, this.#runnable.queue.length)
    ticket.assured = line === this.#runnable && passing < free
    if (!ticket.assured) {
      const flow = line.queue.flowOf(ticket)
      const wait = line.queue.freshWorkBefore(ticket, flow) / line.servers
      const refusal = this.#tooLong(ticket, line, flow, wait, now) ?? this.#makeRoom(line, (flow?.length ?? 0) + 1, wait, passing, now)
      if (refusal !== undefined) return refusal
    }
    ticket.sequence = ++this.#sequence
    this.#waiting++
    this.#enter(ticket, now)
    return undefined
  }

  /** The next job for a thread that is free. What has waited too long is refused on the way. */
  take (now: number): T | undefined {
    const ticket = this.#next(this.#runnable, now)
    return ticket && this.#start(ticket, now)
  }

  /** The next job, if almost every run of its name fits into `budget` ms: to be handed to a busy thread in advance. */
  takeShort (now: number, budget: number): T | undefined {
    const ticket = this.#next(this.#runnable, now)
    return ticket && this.#estimates.most(ticket.job) <= budget ? this.#start(ticket, now) : undefined
  }

  /** A taken job that never started is back at the head of its queue. It had been admitted: neither count nor wait refuses it now. */
  putBack (ticket: T): void {
    if (ticket.place !== 'taken') return
    ticket.place = 'runnable'
    ticket.assured = true
    this.#returned(ticket)
    this.#waiting++
    this.#runnable.queue.restore(ticket)
  }

  /** A taken job has ended after running for `run` ms. */
  finish (ticket: T, now: number, run: number, outcome: Outcome): void {
    if (ticket.place !== 'taken') return
    this.#advance(this.#runnable, now)
    ticket.place = 'gone'
    this.#returned(ticket)
    const ms = run > 0 ? run : 0
    if (outcome === 'completed') this.#estimates.sample(ticket.job, ms, now)
    else if (outcome === 'censored') this.#estimates.censored(ticket.job, ms, now)
    this.#runnable.queue.settle(ticket, ms)
    const capped = this.#capped[ticket.job]
    if (capped !== undefined) this.#release(capped, now)
  }

  /** The job's client has left, be it waiting (true: it is out) or taken (false: the pool is to end it, and finish() comes). */
  leave (ticket: T, now: number): boolean {
    const { place } = ticket
    if (place === 'outside' || place === 'gone') return false
    const { limit } = this.#lineOf(ticket)
    const wait = (place === 'taken' ? ticket.taken : now) - ticket.since
    if (!ticket.left) limit.left(ticket, wait)
    ticket.left = true
    if (place === 'taken') return false
    this.#remove(ticket, now)
    return true
  }

  #line (job: number, cap: number): Line {
    const servers = Math.max(1, Math.min(this.#threads, cap))
    return { queue: new FairQueue(this.#estimates), limit: new WaitLimit(this.#settings, servers), servers, cap, job, holding: 0, offeredAt: -Infinity }
  }

  /** The line that an arriving job would join. */
  #lineFor (ticket: Ticket): Line {
    const capped = this.#capped[ticket.job]
    return capped !== undefined && capped.holding >= capped.cap ? capped : this.#runnable
  }

  /** The line in which a job waits. */
  #lineOf (ticket: Ticket): Line {
    return ticket.place === 'held' ? this.#capped[ticket.job]! : this.#runnable
  }

  /** To be called before a line's servers become busy or idle, and before its limit is asked for. */
  #advance (line: Line, now: number): void {
    const busy = line === this.#runnable ? this.#running : line.holding
    line.limit.advance(now, Math.max(0, line.servers - busy))
  }

  #enter (ticket: Ticket, now: number): void {
    const capped = this.#capped[ticket.job]
    // Asked again: making room for it may have freed a place under its cap.
    const line = this.#lineFor(ticket)
    if (line === capped) ticket.place = 'held'
    else {
      ticket.place = 'runnable'
      if (capped !== undefined) {
        this.#advance(capped, now)
        capped.holding++
      }
    }
    line.queue.push(ticket)
  }

  #start (ticket: Ticket, now: number): T {
    this.#advance(this.#runnable, now)
    this.#runnable.limit.waited(ticket, now - ticket.since)
    this.#runnable.queue.shift(ticket, now)
    ticket.place = 'taken'
    ticket.taken = now
    this.#waiting--
    this.#running++
    this.#underWay += ticket.expected
    return ticket as T
  }

  /** The next job of a line. On the way, jobs that have waited longer than their key's wait limit become late, or are refused if their key has too much waiting. */
  #next (line: Line, now: number): Ticket | undefined {
    this.#advance(line, now)
    this.#expire(line, now)
    for (;;) {
      const flow = line.queue.next()
      if (flow === undefined) return undefined
      const limit = line.limit.of(flow.key)
      const oldest = flow.oldestFresh
      // The last one is served however long it has waited: refusing it would leave the thread idle.
      if (oldest !== undefined && !oldest.assured && now - oldest.since > limit && line.queue.length > 1) {
        // In a lone burst nobody comes who would be served sooner for it, so nobody is refused for the clients that left.
        const overload = line.limit.overload(flow.key) && now - line.offeredAt <= limit
        if (overload || line.queue.workUntil(oldest, flow, 0) / line.servers > this.#settings.maxWait) this.#refuse(oldest, 'shed', now - oldest.since, limit, now)
        else line.queue.postpone(flow)
      } else if (flow.late && !flow.demoted && now - flow.servedAt > limit) line.queue.demote(flow)
      else {
        const ticket = flow.head!
        const left = ticket.deadline - now
        if (ticket.assured || this.#estimates.least(ticket.job, now) <= left) return ticket
        this.#refuse(ticket, 'deadline', now - ticket.since, left, now)
      }
    }
  }

  /** Refuses what has waited longer than any job may, but for the last one. */
  #expire (line: Line, now: number): void {
    const { maxWait } = this.#settings
    for (let { oldest } = line.queue; oldest !== undefined && line.queue.length > 1; { oldest } = line.queue) {
      const waited = now - oldest.since
      if (waited <= maxWait) return
      this.#refuse(oldest, 'shed', waited, maxWait, now)
    }
  }

  /** The key with the most waiting, be it held or runnable. */
  #longest (): Flow | undefined {
    let longest = this.#runnable.queue.longest
    for (const line of this.#capped) {
      const other = line?.queue.longest
      if (other !== undefined && other.length > (longest?.length ?? 0)) longest = other
    }
    return longest
  }

  /** The refusal of an arrival that would wait too long. A name that never ran is bounded by count only. */
  #tooLong (ticket: Ticket, line: Line, flow: Flow | undefined, wait: number, now: number): Refusal | undefined {
    const { job, key, expected } = ticket
    if (!this.#estimates.known(job)) return undefined
    const left = ticket.deadline - now
    if (wait + this.#estimates.least(job, now) > left) return this.#refusal(line, 'deadline', wait, left)
    const limit = line.limit.of(key)
    const backlog = line.queue.workUntil(ticket, flow, expected) / line.servers
    const overload = line.limit.overload(key)
    if (wait <= limit || (!overload && backlog <= this.#settings.maxWait)) return undefined
    line.limit.waited(ticket, wait)
    return overload ? this.#refusal(line, 'wait', wait, limit) : this.#refusal(line, 'wait', backlog, this.#settings.maxWait)
  }

  /**
   * Refuses one job if too many wait: of the key with the most waiting, the job that would be served last. It may be the arriving one, which would make
   * `length`. Keys of equal length don't change places: otherwise a flood of new keys would evict everyone.
   */
  #makeRoom (line: Line, length: number, wait: number, passing: number, now: number): Refusal | undefined {
    const { maxQueue } = this.#settings
    if (this.#waiting - passing < maxQueue) return undefined
    const longest = this.#longest()
    const last = longest?.tail
    // What a free thread is about to take, and what came back from a thread that died, isn't evicted: it was promised a thread.
    const promised = last?.assured === true || (last?.place === 'runnable' && this.#runnable.queue.length <= passing)
    if (last === undefined || promised || longest!.length <= length) return this.#refusal(line, 'count', wait, maxQueue)
    this.#refuse(last, 'count', wait, maxQueue, now)
    return undefined
  }

  /** A place under a cap is free: the next of its name becomes runnable, at its place in the order of arrival. */
  #release (line: Line, now: number): void {
    this.#advance(line, now)
    line.holding--
    const ticket = this.#next(line, now)
    // The second: a listener to a refusal may have offered another job meanwhile.
    if (ticket === undefined || line.holding >= line.cap) return
    line.limit.waited(ticket, now - ticket.since)
    line.queue.shift(ticket, now)
    line.queue.settle(ticket, ticket.charged)
    line.holding++
    ticket.place = 'runnable'
    ticket.since = now
    this.#runnable.queue.insert(ticket)
  }

  #returned (ticket: Ticket): void {
    this.#running--
    // Sums of floating point numbers drift: nothing running is the occasion to be exact again.
    this.#underWay = this.#running === 0 ? 0 : this.#underWay - ticket.expected
  }

  #remove (ticket: Ticket, now: number): void {
    const capped = this.#capped[ticket.job]
    const held = ticket.place === 'held'
    this.#lineOf(ticket).queue.remove(ticket)
    ticket.place = 'gone'
    this.#waiting--
    if (capped !== undefined && !held) this.#release(capped, now)
  }

  #refuse (ticket: Ticket, reason: RefusalReason, estimatedWait: number, limit: number, now: number): void {
    const line = this.#lineOf(ticket)
    line.limit.wasted(ticket, now - ticket.since)
    const refusal = this.#refusal(line, reason, estimatedWait, limit)
    this.#remove(ticket, now)
    this.#onRefused(ticket as T, refusal)
  }

  #refusal (line: Line, reason: RefusalReason, estimatedWait: number, limit: number): Refusal {
    // What runs now is counted whole: a client that comes back then finds a free server, if nobody else came.
    const running = line === this.#runnable ? this.#underWay : line.holding * this.#estimates.mean(line.job)
    const retryAfter = Math.max(1, Math.ceil((line.queue.work + running) / line.servers / 1_000))
    return { reason, waiting: this.#waiting, estimatedWait, limit, retryAfter }
  }
}
