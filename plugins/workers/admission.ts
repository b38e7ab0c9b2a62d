/**
 * The decision to run a job, let it wait, or refuse it: bounded by count, by time and by deadline; fair to keys, classes and names.
 *
 * A state machine whose clock is an argument: the pool drives it in real time, the tests' simulation in virtual time. A ticket is
 *   held (its name's cap has no place for it) → runnable → taken → gone
 * and may go from held or runnable to gone (refused, or its client left), and from taken back to runnable (its thread died before it started).
 * Every operation costs O(log keys) or less, whatever waits.
 */
import type { Refusal, RefusalReason } from '../errors.ts'
import { Estimates } from './estimates.ts'
import { FairQueue } from './fair-queue.ts'
import { Longest } from './longest.ts'
import { Standing } from './standing.ts'
import { Place, type Ticket } from './ticket.ts'

export { Ticket, type Priority } from './ticket.ts'

export interface AdmissionSettings {
  /** Threads alive. */
  threads: number
  /** Jobs that may wait. */
  maxQueue: number
  /** The wait allowed in a burst, in ms. */
  maxWait: number
  /** The wait allowed once a queue stands, in ms. */
  targetWait: number
  /** How long a queue stands before it is held to `targetWait`, in ms. */
  interval: number
  /** By job index: the threads that a name may hold; Infinity for no cap. */
  concurrency: readonly number[]
}

export const admissionDefaults = { maxQueue: 1_000, maxWait: 600, targetWait: 100, interval: 2_000 } as const

/** How the run ended: `completed`; `censored`, cut off, so that it would have taken longer; `unknown`, its time says nothing. */
export type Outcome = 'completed' | 'censored' | 'unknown'

/** A queue and what it waits for: the threads, or the places of one capped name. */
interface Line {
  readonly queue: FairQueue
  readonly standing: Standing
  readonly cap: number
  /** Of a capped name: jobs that are runnable or taken. Invariant: never more than `cap`, so what is runnable can be taken, and take() never has to search. */
  holding: number
}

export class Admission<T extends Ticket> {
  readonly #settings: AdmissionSettings
  readonly #onRefused: (ticket: T, refusal: Refusal) => void
  readonly #estimates: Estimates
  readonly #longest = new Longest()
  readonly #runnable: Line
  /** By job index: where jobs wait for a place under their cap. Their waiting is not the pool's overload, so it is not in the runnable line. */
  readonly #capped: readonly (Line | undefined)[]
  #threads: number
  #running = 0
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

  /** The expected run time of a job, in ms, if it has ever run. */
  estimate (job: number): number | undefined {
    return this.#estimates.known(job) ? this.#estimates.mean(job) : undefined
  }

  /** The job waits from now on (undefined), or is refused. To let it wait, another may be refused. */
  offer (ticket: T, now: number): Refusal | undefined {
    ticket.arrived = ticket.since = now
    ticket.expected = this.#estimates.fading(ticket.job, now)
    // Several jobs are offered before the first is taken, so those that a free thread is about to take don't wait for one.
    const free = Math.max(0, this.#threads - this.#running)
    const passing = Math.min(free, this.#runnable.queue.length)
    const line = this.#lineFor(ticket)
    ticket.assured = line === this.#runnable && passing < free
    if (ticket.assured) line.standing.drained()
    else {
      const wait = this.#wait(line, line.queue.workBefore(ticket, ticket.expected))
      const refusal = this.#late(ticket, line, wait, now)
      if (refusal !== undefined) return refusal
      if (this.#waiting - passing >= this.#settings.maxQueue) {
        // Of the key with the most waiting the newest goes: be it this one.
        const longest = this.#longest.flow
        if (longest === undefined || longest.length <= line.queue.lengthOf(ticket)) {
          return this.#refusal(line, 'count', wait, this.#settings.maxQueue)
        }
        this.#refuse(longest.tail!, 'count', wait, this.#settings.maxQueue, now)
      }
    }
    ticket.sequence = ++this.#sequence
    this.#waiting++
    this.#enter(ticket, now)
    return undefined
  }

  /** The next job for a thread that is free. What has waited too long is refused on the way. */
  take (now: number): T | undefined {
    const ticket = this.#next(this.#runnable, now)
    if (ticket === undefined) return undefined
    this.#runnable.queue.shift(ticket)
    ticket.place = Place.taken
    this.#waiting--
    this.#running++
    return ticket as T
  }

  /** The next job, if almost every run of its name fits into `budget` ms: to be handed ahead to a thread that is busy. */
  takeShort (now: number, budget: number): T | undefined {
    const ticket = this.#runnable.queue.peek()
    if (ticket === undefined || this.#estimates.most(ticket.job) > budget) return undefined
    return this.take(now)
  }

  /** A taken job that never started is back at the head of its queue. It had been admitted: neither count nor wait refuses it now. */
  putBack (ticket: T, now: number): void {
    if (ticket.place !== Place.taken) return
    ticket.place = Place.runnable
    ticket.assured = true
    this.#running--
    this.#waiting++
    this.#runnable.standing.joined(now)
    this.#runnable.queue.restore(ticket)
  }

  /** A taken job has ended after running for `run` ms. */
  finish (ticket: T, now: number, run: number, outcome: Outcome): void {
    if (ticket.place !== Place.taken) return
    ticket.place = Place.gone
    this.#running--
    const ms = run > 0 ? run : 0
    if (outcome === 'completed') this.#estimates.sample(ticket.job, ms, now)
    else if (outcome === 'censored') this.#estimates.censored(ticket.job, ms, now)
    this.#runnable.standing.ran(ms)
    this.#runnable.queue.settle(ticket, ms)
    const capped = this.#capped[ticket.job]
    if (capped === undefined) return
    capped.standing.ran(ms)
    this.#release(capped, now)
  }

  /** The job's client has left: true if it was waiting. */
  leave (ticket: T, now: number): boolean {
    if (ticket.place !== Place.held && ticket.place !== Place.runnable) return false
    this.#remove(ticket, now)
    return true
  }

  /** How many threads are alive: 0 for a moment, if the last one died. */
  resize (threads: number): void {
    this.#threads = threads
  }

  #line (cap: number): Line {
    return { queue: new FairQueue(this.#estimates, this.#longest), standing: new Standing(this.#settings), cap, holding: 0 }
  }

  #lineFor (ticket: Ticket): Line {
    const capped = this.#capped[ticket.job]
    return capped !== undefined && capped.holding >= capped.cap ? capped : this.#runnable
  }

  #enter (ticket: Ticket, now: number): void {
    const line = this.#lineFor(ticket)
    const capped = this.#capped[ticket.job]
    if (line === capped) ticket.place = Place.held
    else {
      ticket.place = Place.runnable
      if (capped !== undefined) capped.holding++
    }
    line.standing.joined(now)
    line.queue.push(ticket)
  }

  /** The next of a line, past those that have waited too long. */
  #next (line: Line, now: number): Ticket | undefined {
    for (;;) {
      const ticket = line.queue.peek()
      if (ticket === undefined || ticket.assured) return ticket
      const waited = now - ticket.since
      const allowed = line.standing.allowed(now)
      const left = ticket.deadline - now
      // The last one is served however long it has waited: refusing it would leave the thread idle.
      if (waited > allowed && line.queue.length > 1) this.#refuse(ticket, 'shed', waited, allowed, now)
      else if (this.#estimates.least(ticket.job, now) > left) this.#refuse(ticket, 'deadline', waited, left, now)
      else return ticket
    }
  }

  /** The refusal of an arrival that would wait for `wait` ms, if that is too long. A name that never ran is bounded by count only. */
  #late (ticket: Ticket, line: Line, wait: number, now: number): Refusal | undefined {
    if (!this.#estimates.known(ticket.job)) return undefined
    const allowed = line.standing.allowed(now)
    if (wait > allowed) return this.#refusal(line, 'wait', wait, allowed)
    const left = ticket.deadline - now
    return wait + this.#estimates.least(ticket.job, now) > left ? this.#refusal(line, 'deadline', wait, left) : undefined
  }

  /** A place under a cap is free: the next of its name becomes runnable, at its place in the order of arrival. */
  #release (line: Line, now: number): void {
    line.holding--
    const ticket = this.#next(line, now)
    if (ticket === undefined) {
      line.standing.drained()
      return
    }
    line.queue.shift(ticket)
    line.queue.settle(ticket, ticket.charged)
    line.holding++
    ticket.place = Place.runnable
    ticket.since = now
    this.#runnable.standing.joined(now)
    this.#runnable.queue.insert(ticket)
  }

  #remove (ticket: Ticket, now: number): void {
    const capped = this.#capped[ticket.job]
    const held = ticket.place === Place.held
    const line = held ? capped! : this.#runnable
    line.queue.remove(ticket)
    ticket.place = Place.gone
    this.#waiting--
    if (capped !== undefined && !held) this.#release(capped, now)
  }

  #refuse (ticket: Ticket, reason: RefusalReason, estimatedWait: number, limit: number, now: number): void {
    const line = ticket.place === Place.held ? this.#capped[ticket.job]! : this.#runnable
    const refusal = this.#refusal(line, reason, estimatedWait, limit)
    this.#remove(ticket, now)
    this.#onRefused(ticket as T, refusal)
  }

  #wait (line: Line, work: number): number {
    return work / Math.max(1, Math.min(this.#threads, line.cap))
  }

  #refusal (line: Line, reason: RefusalReason, estimatedWait: number, limit: number): Refusal {
    const retryAfter = Math.max(1, Math.ceil(this.#wait(line, line.queue.work) / 1_000))
    return { reason, waiting: this.#waiting, estimatedWait, limit, retryAfter }
  }
}
