/**
 * The main thread's end of the conversation with one host. The client hands jobs to the host, receives how they ended,
 * revokes jobs that have not started, aborts jobs, and keeps a kill timer for each aborted job.
 *
 * The client reads the port without holding the event loop, and on demand. Node hands messages over one by one, which
 * costs twice as much as to read on, and doesn't stop while there are more: a job may post without end.
 */
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import { UNREADABLE, type FromHost, type Handover, type JobOutcome, type ToHost } from '../../../workers/protocol.ts'
import { abort, assign, free, isStarted, received, revoke, type Slots } from '../../../workers/slots.ts'
import { fromWire, toWire } from '../../../workers/wire-error.ts'
import type { Job, JobHolder } from '../job.ts'
import type { HostEvents, JobEvents } from './events.ts'
import type { OsThread } from './piscina.ts'
import { outside, type Transitions } from './transitions.ts'

/** How many jobs a thread may hold: the job that it runs and those prefetched. */
export const MAX_HELD = 64

/** A job that has ended so many threads before they could start it is given up. */
const MAX_THREADS_ENDED = 2

/** Messages read in one go where they must be read now: more than a thread can have posted unread. */
const MAX_BURST = 2_048

/**
 * How long, in ms, messages are read on before others have their turn of the event loop: each may take as long as its
 * value is large.
 */
const MAX_READING_MS = 4

export class HostClient implements JobHolder {
  /** Shared with the host. */
  readonly slots: Slots
  /** The host has loaded the jobs. */
  isReady = false
  /** Jobs that the host has and that were not revoked. */
  held = 0
  /** The value of `held` after the last handover. */
  filled = 0
  /**
   * Jobs that the host has ended, skipped or could not read. While the number stands still, the thread is busy with one
   * job.
   */
  outcomes = 0
  /** Prefetched jobs were revoked because no job ended. The host prefetches no more until a job ends. */
  stalled = false
  readonly #port: MessagePort
  readonly #os: OsThread
  readonly #transitions: Transitions
  readonly #jobEvents: JobEvents
  readonly #hostEvents: HostEvents
  /** Whether the thread holds the process open. */
  #holds = true
  /** By slot. */
  readonly #jobs: Array<Job | undefined> = []
  readonly #free = Array.from({ length: MAX_HELD }, (_, index) => MAX_HELD - 1 - index)
  /** By slot: the ordinal of the message that brought the job, of all that were posted. */
  readonly #broughtBy: number[] = []
  readonly #killTimers = new Map<Job, NodeJS.Timeout>()
  #posted = 0
  #received = 0
  /** When a message was last read from the port. */
  #readAt = 0
  /** Since when the host runs its present job. */
  #busySince = 0

  /** @param os the thread of the host, which holds the process open from its start */
  constructor (port: MessagePort, slots: Slots, os: OsThread, transitions: Transitions, jobEvents: JobEvents,
    hostEvents: HostEvents) {
    this.#port = port
    this.slots = slots
    this.#os = os
    this.#transitions = transitions
    this.#jobEvents = jobEvents
    this.#hostEvents = hostEvents
    this.#listen()
    // A message that can't be read is nested too deeply for this thread, or too large.
    port.on('messageerror', (error: unknown) => this.#receive(() => this.#onUnreadable(error)))
  }

  /**
   * The number of jobs that the host can be handed. The slot of a revoked job is free again when the host has seen the
   * revocation.
   */
  get capacity (): number {
    return this.#free.length
  }

  /** The host has nothing to do, and has seen each revocation. A host that has not may be held up. */
  get isFree (): boolean {
    return this.#free.length === MAX_HELD
  }

  /** The host has jobs, and runs none of them. */
  get isDue (): boolean {
    return !this.isFree && !this.#jobs.some((job) => job !== undefined && isStarted(this.slots, job.slot))
  }

  get killTimers (): number {
    return this.#killTimers.size
  }

  /** The jobs that the host has. */
  jobs (): Job[] {
    return this.#jobs.filter((job) => job !== undefined)
  }

  /** The jobs that run. */
  running (): Job[] {
    return this.jobs().filter(({ slot }) => isStarted(this.slots, slot))
  }

  /**
   * Hands over jobs, in order. If one of several jobs can't be cloned, each job is posted alone, so that only that one
   * fails.
   */
  hand (jobs: readonly Job[], now: number): void {
    try {
      this.#post(jobs, now)
    } catch (error) {
      const [job] = jobs
      if (jobs.length > 1) for (const each of jobs) this.hand([each], now)
      else if (job !== undefined) this.#jobEvents.undelivered(job, error, false)
      return
    }
    for (const job of jobs) this.#jobEvents.dispatched(job)
  }

  /**
   * @throws DataCloneError, RangeError, whatever a getter throws: a payload can't be cloned, and no job was handed over
   */
  #post (jobs: readonly Job[], now: number): void {
    if (this.held === 0) {
      this.#busySince = now
      this.#hold(true)
    }
    const handover: Handover = []
    let isTraced = false
    const epoch = Date.now() - now
    for (const job of jobs) {
      const slot = this.#free.pop() as number
      assign(this.slots, slot, job.seq, job.registered.index, job.attempt + 1, epoch + job.deadline)
      this.#jobs[slot] = job
      job.slot = slot
      job.holder = this
      job.handedAt = now
      this.held++
      handover.push(slot, job.payload)
      isTraced ||= job.trace?.carrier !== undefined
    }
    if (isTraced) handover.push(jobs.map(({ trace }) => trace?.carrier))
    // A getter of a payload may abort its job, which leaves its slot then.
    const slots = jobs.map(({ slot }) => slot)
    const transferList = jobs[0]?.transferList // A job that has one goes alone.
    try {
      if (transferList === undefined) this.#port.postMessage(handover)
      else this.#port.postMessage(handover, transferList)
    } catch (error) {
      for (const slot of slots) this.#vacate(slot)
      throw error
    }
    this.#posted++
    for (const slot of slots) this.#broughtBy[slot] = this.#posted
    for (const job of jobs) job.attempt++
    this.filled = this.held
  }

  stop (job: Job, reason: unknown, grace: number): boolean {
    if (this.#revoke(job)) return true
    abort(this.slots, job.slot)
    this.send({ abort: job.seq, reason: toWire(reason) })
    this.endAfter(job, grace)
    return false
  }

  /**
   * Ends the thread after `grace` ms if the thread still runs the job then. A later call for the same job replaces its
   * timer.
   */
  endAfter (job: Job, grace: number): void {
    if (grace === Infinity) return
    clearTimeout(this.#killTimers.get(job))
    this.#killTimers.set(job, setTimeout(this.#transitions.run, grace, () => {
      this.#killTimers.delete(job)
      // If it was this event loop that stood still, the job has ended long since, and its thread runs another.
      this.poll()
      if (job.holder === this) this.#hostEvents.overdue()
    }).unref())
  }

  /** Returns true if the job had not started, and now never will on this thread. */
  #revoke (job: Job): boolean {
    if (!revoke(this.slots, job.slot)) return false
    this.#drop(job) // The slot stays taken until the host has seen the revocation.
    return true
  }

  /**
   * Revokes the jobs that have not started, so that they can run elsewhere. Jobs whose payload has moved here too, if
   * the thread is to be ended.
   */
  revokePrefetched (withMoved = false): void {
    const jobs = this.#inOrder().filter((job) => (withMoved || job.transferList === undefined) && this.#revoke(job))
    if (jobs.length > 0) this.#jobEvents.returned(jobs)
  }

  send (message: ToHost): void {
    this.#port.postMessage(message)
    this.#posted++
  }

  /** Lets the process end although the host could still be handed jobs. The next job holds the process open again. */
  release (): void {
    this.#hold(false)
  }

  #hold (holds: boolean): void {
    if (this.#holds !== holds) this.#os.hold(this.#holds = holds)
  }

  /**
   * Ends the conversation: the thread is gone.
   * @param onItsOwn nobody ended the thread, so that it may have died of what it read
   */
  close (error: Error | undefined, onItsOwn: boolean): { crashed: number, returned: number } {
    // The messages that the host posted before its end are here already.
    this.poll()
    const reading = onItsOwn ? this.#reading() : []
    const held = this.#inOrder()
    const unstarted = held.filter((job) => this.#revoke(job))
    const crashed = held.filter((job) => job.holder === this)
    for (const job of crashed) this.#drop(job)
    for (const job of reading) job.threadsEnded++
    const returned = unstarted.filter(({ threadsEnded }) => threadsEnded < MAX_THREADS_ENDED)
    crashed.push(...unstarted.filter((job) => !returned.includes(job)))
    this.#port.close()
    const durationMs = performance.now() - this.#busySince
    if (returned.length > 0) this.#jobEvents.returned(returned)
    for (const job of crashed) this.#jobEvents.crashed(job, error, durationMs, !onItsOwn)
    return { crashed: crashed.length, returned: returned.length }
  }

  /** Handles at once what was posted and not read. */
  poll (): void {
    this.#readAt = performance.now()
    for (let count = 0; count < MAX_BURST && this.#receiveOne((handle) => handle()); count++);
  }

  /** The port doesn't hold the process open: the thread does, if it has something to do. */
  #listen (): void {
    this.#port.on('message', this.#onMessage)
    this.#port.unref()
  }

  readonly #onMessage = (message: FromHost): void => this.#receive(() => this.#handle(message))

  /**
   * Reads on after a first message. Each message is a transition of its own, so that an abort in `onProgress` takes
   * effect before the next message is handled.
   */
  #receive (first: () => void): void {
    this.#readAt = performance.now()
    this.#transitions.run(first)
    while (this.#receiveOne(this.#transitions.run)) {
      if (performance.now() - this.#readAt < MAX_READING_MS) continue
      // A port without a listener is not read.
      this.#port.off('message', this.#onMessage)
      outside(() => setImmediate(() => this.#listen()))
      return
    }
  }

  #receiveOne (run: (handle: () => void) => void): boolean {
    let next: { message: FromHost } | undefined
    try {
      next = receiveMessageOnPort(this.#port) as { message: FromHost } | undefined
    } catch (error) {
      run(() => this.#onUnreadable(error))
      return true
    }
    if (next === undefined) return false
    const { message } = next
    run(() => this.#handle(message))
    return true
  }

  /** Never throws: an exception out of a port's listener ends the process. */
  #handle (message: FromHost): void {
    this.#received++
    try {
      if (Array.isArray(message)) this.#onOutcome(message)
      else this.#onNews(message)
    } catch (error) {
      this.#jobEvents.fault(error)
    }
  }

  #onNews (message: Exclude<FromHost, JobOutcome>): void {
    if ('progress' in message) {
      received(this.slots)
      const job = this.#jobs[message.slot]
      if (job !== undefined) this.#jobEvents.progress(job, message.progress)
    } else if ('log' in message) {
      received(this.slots)
      const job = this.#jobs[message.slot]
      this.#jobEvents.log(job?.seq === message.seq ? job : undefined, message)
    } else if ('unread' in message) this.#onUnread(message.unread, fromWire(message.error))
    else if ('broken' in message) this.#hostEvents.broken(message.broken, message.what)
    else {
      this.isReady = true
      this.#hostEvents.ready()
    }
  }

  /** A message of the host is lost: it is nested too deeply for this thread's stack, or too large. */
  #onUnreadable (error: unknown): void {
    const slot = this.slots.outcomes.indexOf(++this.#received)
    const job = this.#jobs[slot]
    try {
      if (job !== undefined) this.#onOutcome([slot, UNREADABLE, error, this.#readAt - this.#busySince])
      else {
        received(this.slots)
        this.#jobEvents.progressUnread(this.#inOrder()[0], error)
      }
    } catch (error) {
      this.#jobEvents.fault(error)
    }
  }

  /**
   * The host could not read a message of ours, and posts no outcome for what the message brought: one job, since a
   * large or deep payload goes alone.
   */
  #onUnread (ordinal: number, error: unknown): void {
    this.outcomes++
    for (const slot of this.#broughtBy.keys()) {
      if (this.#broughtBy[slot] !== ordinal) continue
      const job = this.#jobs[slot]
      this.#vacate(slot)
      if (job === undefined) this.#jobEvents.vacancy()
      else this.#jobEvents.undelivered(job, error, true)
    }
  }

  #onOutcome (outcome: JobOutcome): void {
    const slot = outcome[0]
    const job = this.#jobs[slot]
    this.#vacate(slot)
    this.outcomes++
    if (job === undefined) { // The job was revoked, and the host has seen that.
      this.#jobEvents.vacancy()
      return
    }
    const held = this.#readAt - this.#busySince
    this.#busySince = this.#readAt
    this.stalled = false
    this.#jobEvents.outcome(job, outcome, this.#readAt, held)
  }

  /** The host is done with a slot, or never got it. */
  #vacate (slot: number): void {
    free(this.slots, slot)
    this.#free.push(slot)
    const job = this.#jobs[slot]
    if (job !== undefined) this.#drop(job) // Otherwise the job was revoked.
  }

  #drop (job: Job): void {
    this.#jobs[job.slot] = undefined
    job.holder = undefined
    this.held--
    if (this.#killTimers.size === 0) return
    clearTimeout(this.#killTimers.get(job))
    this.#killTimers.delete(job)
  }

  /** The jobs of the message that the host is reading, or reads next. */
  #reading (): Job[] {
    const next = (this.slots.read[0] as number) + 1
    return this.jobs().filter(({ slot }) => this.#broughtBy[slot] === next)
  }

  #inOrder (): Job[] {
    return this.jobs().sort((a, b) => a.handedAt - b.handedAt || a.seq - b.seq)
  }
}
