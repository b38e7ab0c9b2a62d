/**
 * The decision to run a job, let it wait, or refuse it: bounded by count, by time and by deadline; fair to keys, classes and names.
 *
 * A state machine whose clock is an argument: the pool drives it in real time, the tests' simulation in virtual time. A ticket is
 *   held (its name's cap has no place for it) → runnable → taken → gone
 * and may go from held or runnable to gone (refused, or its client left), and from taken back to runnable (its thread died before it started).
 * Every operation costs O(log keys) or less, whatever waits.
 */
import type { Refusal, RefusalReason } from '../errors.ts'
import { Allowance, type AllowanceSettings } from './allowance.ts'
import { Estimates } from './estimates.ts'
import { FairQueue } from './fair-queue.ts'
import type { Flow } from './flow.ts'
import type { Ticket } from './ticket.ts'

export { Ticket, type Priority } from './ticket.ts'

export interface AdmissionSettings extends AllowanceSettings {
  /** Threads; one that died counts, since another takes its place at once. */
  threads: number
  /** Jobs that may wait. */
  maxQueue: number
  /** By job index: the threads that a name may hold; Infinity for no cap. */
  concurrency: readonly number[]
}

export const admissionDefaults = { maxQueue: 1_000, maxWait: 600, targetWait: 100, interval: 1_000 } as const

/** How the run ended: `completed`; `censored`, cut off, so that it would have taken longer; `unknown`, its time says nothing. */
export type Outcome = 'completed' | 'censored' | 'unknown'

/**
 * When a queue stands, it is because of the key with the most waiting, if that is this share of all: then keys with fewer
 * than BLAME times as many may wait as in a burst. Many keys alike are overload, and none is spared.
 */
const OUTSTANDING = 0.25
const BLAME = 0.5

/** A queue and what it waits for: the threads, or the places of one capped name. */
interface Line {
  readonly queue: FairQueue
  readonly allowance: Allowance
  readonly cap: number
  /** Of a capped name: jobs that are runnable or taken. Invariant: never more than `cap`, so what is runnable can be taken, and take() never has to search. */
  holding: number
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
    this.#runnable = this.#line(Infinity)
    this.#capped = settings.concurrency.map((cap) => cap === Infinity ? undefined : this.#line(cap))
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
    ticket.expected = this.#estimates.fading(ticket.job, now)
    const line = this.#lineFor(ticket)
    line.allowance.offered(ticket.expected, this.#servers(line), now)
    const capped = this.#capped[ticket.job]
    if (capped !== undefined && capped !== line) capped.allowance.offered(ticket.expected, this.#servers(capped), now)
    // Several jobs are offered before the first is taken, so those that a free thread is about to take don't wait for one.
    const free = Math.max(0, this.#threads - this.#running)
    const passing = Math.min(free, this.#runnable.queue.length)
    ticket.assured = line === this.#runnable && passing < free
    if (!ticket.assured) {
      // What won't be served any more makes way for those who come now, else they are refused in its favour.
      if (line.allowance.overloaded) this.#next(line, now)
      const flow = line.queue.flowOf(ticket)
      const wait = line.queue.workBefore(ticket, flow) / this.#servers(line)
      const length = (flow?.length ?? 0) + 1
      const refusal = this.#late(ticket, line, length, wait, now) ?? this.#makeRoom(line, length, wait, passing, now)
      if (refusal !== undefined) return refusal
    }
    ticket.sequence = ++this.#sequence
    this.#waiting++
    this.#enter(ticket)
    return undefined
  }

  /** The next job for a thread that is free. What has waited too long is refused on the way. */
  take (now: number): T | undefined {
    const ticket = this.#next(this.#runnable, now)
    return ticket && this.#start(ticket, now)
  }

  /** The next job, if almost every run of its name fits into `budget` ms: to be handed ahead to a thread that is busy. */
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
    ticket.place = 'gone'
    this.#returned(ticket)
    const ms = run > 0 ? run : 0
    if (outcome === 'completed') this.#estimates.sample(ticket.job, ms, now)
    else if (outcome === 'censored') this.#estimates.censored(ticket.job, ms, now)
    this.#runnable.queue.settle(ticket, ms)
    if (outcome !== 'unknown') this.#runnable.allowance.ran(ms)
    if (outcome === 'completed' && !ticket.left) this.#runnable.allowance.served(ticket.taken - ticket.since)
    const capped = this.#capped[ticket.job]
    if (capped === undefined) return
    if (outcome !== 'unknown') capped.allowance.ran(ms)
    this.#release(capped, now)
  }

  /** The job's client has left, be it waiting (true: it is out) or taken (false: the pool is to end it, and finish() comes). */
  leave (ticket: T, now: number): boolean {
    const { place } = ticket
    if (place === 'taken' && !ticket.left) this.#runnable.allowance.left(ticket.taken - ticket.since, now)
    ticket.left = true
    if (place !== 'held' && place !== 'runnable') return false
    const line = place === 'held' ? this.#capped[ticket.job]! : this.#runnable
    line.allowance.left(now - ticket.since, now)
    this.#remove(ticket, now)
    return true
  }

  #line (cap: number): Line {
    return { queue: new FairQueue(this.#estimates), allowance: new Allowance(this.#settings), cap, holding: 0 }
  }

  #lineFor (ticket: Ticket): Line {
    const capped = this.#capped[ticket.job]
    return capped !== undefined && capped.holding >= capped.cap ? capped : this.#runnable
  }

  /** How many jobs of a line can run at a time, were it alone. */
  #servers (line: Line): number {
    return Math.max(1, Math.min(this.#threads, line.cap))
  }

  #enter (ticket: Ticket): void {
    const capped = this.#capped[ticket.job]
    // Asked again: making room for it may have freed a place under its cap.
    const line = this.#lineFor(ticket)
    if (line === capped) ticket.place = 'held'
    else {
      ticket.place = 'runnable'
      if (capped !== undefined) capped.holding++
    }
    line.queue.push(ticket)
  }

  #start (ticket: Ticket, now: number): T {
    this.#runnable.queue.shift(ticket)
    ticket.place = 'taken'
    ticket.taken = now
    this.#waiting--
    this.#running++
    this.#underWay += ticket.expected
    return ticket as T
  }

  /** The next of a line, past those that have waited too long. */
  #next (line: Line, now: number): Ticket | undefined {
    for (;;) {
      const ticket = line.queue.peek()
      if (ticket === undefined || ticket.assured) return ticket
      const waited = now - ticket.since
      const left = ticket.deadline - now
      const allowed = waited > this.#settings.targetWait ? line.allowance.atTurn(now, this.#blameless(line, ticket.flow!.length)) : waited
      // The last one is served however long it has waited: refusing it would leave the thread idle.
      if (waited > allowed && line.queue.length > 1) this.#refuse(ticket, 'shed', waited, allowed, now)
      else if (this.#estimates.least(ticket.job, now) > left) this.#refuse(ticket, 'deadline', waited, left, now)
      else return ticket
    }
  }

  #blameless ({ queue }: Line, length: number): boolean {
    const longest = queue.longest?.length ?? 0
    return longest >= OUTSTANDING * queue.length && length < BLAME * longest
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

  /** The refusal of an arrival that would wait for `wait` ms, if that is too long. A name that never ran is bounded by count only. */
  #late (ticket: Ticket, line: Line, length: number, wait: number, now: number): Refusal | undefined {
    if (!this.#estimates.known(ticket.job)) return undefined
    const allowed = line.allowance.onArrival(now, this.#blameless(line, length))
    if (wait > allowed) return this.#refusal(line, 'wait', wait, allowed)
    const left = ticket.deadline - now
    return wait + this.#estimates.least(ticket.job, now) > left ? this.#refusal(line, 'deadline', wait, left) : undefined
  }

  /**
   * Refuses one if too many wait: the newest of the key with the most waiting, be it the one that would make `length`. Of keys that would only change
   * places who was there first stays: else a flood of new keys evicts everyone.
   */
  #makeRoom (line: Line, length: number, wait: number, passing: number, now: number): Refusal | undefined {
    const { maxQueue } = this.#settings
    if (this.#waiting - passing < maxQueue) return undefined
    const longest = this.#longest()
    const newest = longest?.tail
    // What a free thread is about to take, and what came back from one that died, isn't evicted: it was promised a thread.
    const promised = newest?.assured === true || (newest?.place === 'runnable' && this.#runnable.queue.length <= passing)
    if (newest === undefined || promised || longest!.length <= length) {
      return this.#refusal(line, 'count', wait, maxQueue)
    }
    this.#refuse(newest, 'count', wait, maxQueue, now)
    return undefined
  }

  /** A place under a cap is free: the next of its name becomes runnable, at its place in the order of arrival. */
  #release (line: Line, now: number): void {
    line.holding--
    const ticket = this.#next(line, now)
    // The second: whoever was told of a refusal may have offered another meanwhile.
    if (ticket === undefined || line.holding >= line.cap) return
    line.queue.shift(ticket)
    line.queue.settle(ticket, ticket.charged)
    line.holding++
    line.allowance.served(now - ticket.since)
    ticket.place = 'runnable'
    ticket.since = now
    this.#runnable.allowance.offered(ticket.expected, this.#servers(this.#runnable), now)
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
    const line = held ? capped! : this.#runnable
    line.queue.remove(ticket)
    ticket.place = 'gone'
    this.#waiting--
    if (capped !== undefined && !held) this.#release(capped, now)
  }

  #refuse (ticket: Ticket, reason: RefusalReason, estimatedWait: number, limit: number, now: number): void {
    const line = ticket.place === 'held' ? this.#capped[ticket.job]! : this.#runnable
    const refusal = this.#refusal(line, reason, estimatedWait, limit)
    this.#remove(ticket, now)
    this.#onRefused(ticket as T, refusal)
  }

  #refusal (line: Line, reason: RefusalReason, estimatedWait: number, limit: number): Refusal {
    // What runs is ahead too, half of it done on average; behind a cap, only those of its name.
    const running = line === this.#runnable ? this.#underWay / 2 : line.holding * line.allowance.mean / 2
    const retryAfter = Math.max(1, Math.ceil((line.queue.work + running) / this.#servers(line) / 1_000))
    return { reason, waiting: this.#waiting, estimatedWait, limit, retryAfter }
  }
}
