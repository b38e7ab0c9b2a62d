/**
 * Hands jobs from admission to threads: a free thread gets the next job; a thread whose work is short gets more of it ahead, as
 * much as fits into about a millisecond, since one message of sixteen jobs costs little more than one of one.
 */
import type { Clock } from '../../shared/clock.ts'
import type { Admission } from '../admission/admission.ts'
import type { Crew } from '../threads/thread-manager.ts'
import type { Job } from './job.ts'
import { outside } from '../threads/outside.ts'
import type { Thread } from '../threads/thread.ts'
import type { Transitions } from '../threads/transitions.ts'

/** Estimated work, in ms, that a thread is handed: more would only wait there, where no other thread can take it. */
const AHEAD = 1

/** A thread that has ended no job for this long, in ms, gives back what it was handed ahead: an estimate was wrong. */
const STALLED = 5

/** After this many ms without a job the threads retire. */
const IDLE = 250

/** For so long, in ms, payloads are cloned before others have their turn of the event loop. */
const MAX_HANDING = 4

/**
 * Whether a job shares no message with others, and goes to a free thread: what has moved to a thread can't be taken back from it; a
 * large payload would hold the event loop for longer with others beside it, and twice if one of those can't be cloned.
 */
function goesAlone (job: Job): boolean {
  return job.transferList !== undefined || job.suspect || !job.isSmall
}

export interface DispatcherEvents {
  onDispatched (job: Job): void
  /** The job's payload can't be sent. */
  onUnsent (job: Job, error: unknown): void
  onReturned (jobs: readonly Job[]): void
}

export class Dispatcher {
  readonly #admission: Admission<Job>
  readonly #crew: Crew
  readonly #clock: Clock
  readonly #events: DispatcherEvents
  readonly #transitions: Transitions
  #scheduled = false
  #stopped = false
  #activeAt = 0
  #idleTimer: NodeJS.Timeout | undefined
  #stallTimer: NodeJS.Timeout | undefined

  constructor (admission: Admission<Job>, crew: Crew, clock: Clock, events: DispatcherEvents, transitions: Transitions) {
    this.#admission = admission
    this.#crew = crew
    this.#clock = clock
    this.#events = events
    this.#transitions = transitions
  }

  /** Soon, after all that runs now: the continuations of a burst of results ask for more jobs, and one message carries many. */
  schedule (): void {
    if (this.#scheduled || this.#stopped) return
    this.#scheduled = true
    process.nextTick(this.#transitions.run, this.#dispatch)
  }

  readonly #dispatch = (): void => {
    this.#scheduled = false
    if (this.#stopped) return
    const now = this.#clock.now()
    this.#activeAt = now
    let ahead = false
    for (const thread of this.#crew.threads) {
      if (thread.state !== 'ready') continue
      const jobs = thread.free ? this.#forFree(thread, now) : this.#forBusy(thread, now)
      if (jobs.length > 0) this.#hand(thread, jobs, now)
      if (thread.held > 1) ahead = true
      if (jobs.length > 0 && this.#clock.now() - now > MAX_HANDING) {
        outside(() => setImmediate(() => this.schedule()))
        break
      }
    }
    if (ahead) this.#watchForStalls()
    this.#crew.wake(this.#admission.waiting)
    this.#retireWhenIdle()
  }

  #forFree (thread: Thread, now: number): Job[] {
    const job = this.#admission.take(now)
    return job === undefined ? [] : this.#fill([job], this.#work([job]), thread.room, now)
  }

  #forBusy (thread: Thread, now: number): Job[] {
    // Not for every job that ends: when half of what it was handed is done, a message carries as many again.
    return this.#admission.waiting === 0 || thread.stalled || thread.held === 0 || thread.held > thread.filled / 2 ? [] : this.#fill([], this.#work(thread.jobs()), thread.room, now)
  }

  #work (jobs: readonly Job[]): number {
    let work = 0
    for (const job of jobs) work += job.suspect ? Infinity : this.#admission.estimate(job.registered.index) ?? Infinity
    return work
  }

  /** Adds short jobs while they fit. */
  #fill (jobs: Job[], work: number, room: number, now: number): Job[] {
    if (work < AHEAD && jobs.some(goesAlone)) return jobs
    while (work < AHEAD && jobs.length < room) {
      const job = this.#admission.takeShort(now, AHEAD - work)
      if (job === undefined) break
      if (goesAlone(job)) {
        this.#admission.putBack(job)
        break
      }
      work += this.#work([job])
      jobs.push(job)
    }
    return jobs
  }

  #hand (thread: Thread, jobs: readonly Job[], now: number): void {
    try {
      thread.hand(jobs, now)
    } catch (error) {
      // A payload can't be cloned. Of several, each goes alone: the others must not fail with it.
      if (jobs.length > 1) for (const job of jobs) this.#hand(thread, [job], now)
      else for (const job of jobs) this.#events.onUnsent(job, error)
      return
    }
    this.#crew.watch()
    for (const job of jobs) this.#events.onDispatched(job)
  }

  /** Jobs handed ahead behind one that takes longer than its estimate are taken back for the other threads. */
  #watchForStalls (): void {
    if (this.#stallTimer !== undefined) return
    const before = this.#crew.threads.map(({ ended }) => ended)
    const look = (): void => {
      this.#stallTimer = undefined
      if (this.#stopped) return
      const holding = this.#crew.threads.filter(({ held }) => held > 1)
      for (const thread of holding) {
        if (thread.ended !== before[thread.index]) continue
        thread.stalled = true
        this.#events.onReturned(thread.revokeMovable())
      }
      if (holding.length > 0) this.#watchForStalls()
    }
    // After the poll phase: if it was this event loop that stood still, the threads' messages are waiting there.
    this.#stallTimer = outside(() => setTimeout(() => setImmediate(this.#transitions.run, look), STALLED)).unref()
  }

  #retireWhenIdle (): void {
    if (this.#idleTimer !== undefined) return
    const look = (): void => {
      this.#idleTimer = undefined
      if (this.#stopped) return
      const { waiting, running } = this.#admission
      if (waiting + running > 0 || this.#clock.now() - this.#activeAt < IDLE) this.#retireWhenIdle()
      else this.#crew.retire()
    }
    this.#idleTimer = outside(() => setTimeout(look, IDLE)).unref()
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#idleTimer)
    clearTimeout(this.#stallTimer)
  }
}
