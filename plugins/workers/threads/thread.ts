/**
 * The main thread's end of one host: hands it jobs, hears how they ended, takes back what hasn't started, aborts, kills.
 * It knows who runs where; what becomes of a job is the pool's to decide.
 */
import { MessageChannel, receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import { UNREADABLE, type FromHost, type Handover, type HostData, type JobLine, type Outcome, type ToHost } from '../../../workers/protocol.ts'
import { abort, assign, createSlots, free, heard, isStarted, revoke, type Slots } from '../../../workers/slots.ts'
import { fromWire, toWire } from '../../../workers/wire-error.ts'
import type { Job } from '../pool/job.ts'
import { outside } from './outside.ts'
import type { OsThread } from './piscina.ts'
import type { Transitions } from './transitions.ts'

/** How many jobs a thread may hold: the one it runs and those handed ahead. */
export const MAX_HELD = 64

/** Messages heard at once where they must be heard now: more than a thread can have said that were not heard. */
const MAX_BURST = 2_048

/** A job has crashed that has ended so many threads before they could start it. */
const MAX_THREADS_ENDED = 2

/** How long, in ms, messages are read on before others have their turn of the event loop: each may take as long as its value is large. */
const MAX_READING = 4

/** What a thread says of its jobs. */
export interface JobEvents {
  onOutcome (thread: Thread, job: Job, outcome: Outcome): void
  /** `job` is undefined for a line that came after its end. */
  onLog (job: Job | undefined, line: JobLine): void
  onProgress (job: Job, value: unknown): void
  /** A progress value or a line of a log could not be read: probably of this job, if it runs one. */
  onUnreadable (job: Job | undefined, error: unknown): void
  /** The thread could not read a message that brought these jobs, in order; `alone` if it brought one job only. */
  onUnread (jobs: readonly Job[], alone: boolean, error: unknown): void
  /** What was said could not be dealt with: a logger throws. */
  onFault (error: unknown): void
  /** It has room again, and nothing else to say. */
  onRoom (): void
}

/** What a thread says of itself. */
export interface LifeEvents {
  onReady (thread: Thread): void
  /** The jobs can't be loaded. */
  onBroken (thread: Thread, message: Extract<FromHost, { broken: unknown }>): void
  /** It holds more memory than it may. */
  onRecycle (thread: Thread, bytes: number): void
  /** `lost` were running, or have ended a second thread before it could start them; `unstarted`, in order, never ran. */
  onEnded (thread: Thread, error: Error | undefined, lost: readonly Job[], unstarted: readonly Job[]): void
  /** It died while it was parked. */
  onParkedDied (thread: Thread, error: Error): void
}

/** What a thread has to do next, and may never do: to start, to begin a job that it was handed, to park, to be gone. */
export type Due = 'start' | 'job' | 'park' | 'end'

export class Thread {
  readonly index: number
  /** `ending`: told to park or to end. `stopped`: it has no host; the thread itself may be parked. */
  state: 'stopped' | 'starting' | 'ready' | 'ending' = 'stopped'
  /** Jobs that it has and that haven't been taken back. */
  held = 0
  /** How many it had when it was last handed some. */
  filled = 0
  /** How many jobs it has ended: a thread on which this stands still is stuck in one. */
  ended = 0
  /** How many jobs it has ended or skipped, and how often it was ready: a thread on which this stands still makes no progress. */
  progress = 0
  /** It has ended a job since it was last started. */
  served = false
  /** What was handed ahead was taken back, since nothing ends: it gets no more until something does. */
  stalled = false
  /** It makes no progress: nobody waits for it to start. */
  heldUp = false
  /** When it was last heard of. */
  heardAt = 0
  /** The instant since when it runs the job that it runs. */
  busySince = 0
  /** Since it was last started, it has said that it is ready. */
  wasReady = false
  /** Why its end was asked for. */
  why: 'retired' | 'killed' | 'recycled' | undefined
  readonly #life: LifeEvents
  readonly #events: JobEvents
  readonly #transitions: Transitions
  #os: OsThread | undefined
  #port: MessagePort | undefined
  #slots: Slots = createSlots(MAX_HELD)
  #jobs: Array<Job | undefined> = []
  #free: number[] = []
  /** By slot: which message, of all that were posted, brought the job. */
  #broughtBy: number[] = []
  #posted = 0
  #received = 0

  constructor (index: number, life: LifeEvents, events: JobEvents, transitions: Transitions) {
    this.index = index
    this.#life = life
    this.#events = events
    this.#transitions = transitions
  }

  /** False while the thread that it was is still there: there must not be two. */
  get startable (): boolean {
    return this.state === 'stopped' && this.#os?.alive !== false
  }

  /** It is parked: to start costs it no import. */
  get parked (): boolean {
    return this.state === 'stopped' && this.#os?.alive === true
  }

  /** @throws what the operating system or Node says if there can't be a thread */
  start (open: (onGone: (error: Error) => void) => OsThread, data: Pick<HostData, 'url' | 'names' | 'preload' | 'maxMemory'>): void {
    const { port1, port2 } = new MessageChannel()
    const slots = createSlots(MAX_HELD)
    this.wasReady = false
    outside(() => {
      const os = this.#os ?? open((error) => this.#transitions.run(() => this.#onGone(error)))
      try {
        os.run({ ...data, port: port2, slots }, () => this.#transitions.run(() => { if (os.alive) this.#onEnded(undefined) }))
      } catch (error) {
        // `os` is dropped and not ended: piscina would reject the promise of a task that nobody got.
        port1.close()
        throw error
      }
      this.#os = os
      port1.on('message', this.#onMessage)
      port1.on('messageerror', (error: unknown) => this.#receive(() => this.#onUnreadable(error)))
    })
    this.state = 'starting'
    this.heldUp = false
    this.served = false
    this.stalled = false
    this.why = undefined
    this.#slots = slots
    this.#free = Array.from({ length: MAX_HELD }, (_, index) => MAX_HELD - 1 - index)
    this.#jobs = []
    this.#posted = 0
    this.#received = 0
    this.#port = port1
  }

  /**
   * Hands over jobs, in order.
   * @throws DataCloneError, RangeError, whatever a getter throws: a payload can't be cloned, and none was handed over
   */
  hand (jobs: readonly Job[], now: number): void {
    if (this.held === 0) this.busySince = now
    const handover: Handover = []
    const epoch = Date.now() - now
    let transferList: Array<ArrayBuffer | MessagePort> | undefined
    for (const job of jobs) {
      const slot = this.#free.pop() as number
      assign(this.#slots, slot, job.seq, job.registered.index, job.attempt + 1, epoch + job.deadline)
      this.#jobs[slot] = job
      job.slot = slot
      job.thread = this
      job.handedAt = now
      this.held++
      handover.push(slot, job.payload)
      if (job.transferList !== undefined) transferList = [...transferList ?? [], ...job.transferList]
    }
    const slots = jobs.map(({ slot }) => slot)
    try {
      if (transferList === undefined) this.#port?.postMessage(handover)
      else this.#port?.postMessage(handover, transferList)
    } catch (error) {
      for (const slot of slots) this.#vacate(slot)
      throw error
    }
    this.#posted++
    for (const slot of slots) this.#broughtBy[slot] = this.#posted
    for (const job of jobs) job.attempt++
    this.filled = this.held
  }

  /** How many more jobs it can be handed: a slot taken back stays taken until the host has seen it. */
  get room (): number {
    return this.#free.length
  }

  /** It has nothing to do. A thread that hasn't seen yet what was taken back from it may be held up: it isn't free. */
  get free (): boolean {
    return this.state === 'ready' && this.#free.length === MAX_HELD
  }

  /** What it has to do next; undefined if it runs a job or has nothing to do. */
  get due (): Due | undefined {
    if (this.state === 'stopped') return undefined
    if (this.#os?.alive === false) return 'end'
    if (this.state === 'starting') return 'start'
    if (this.why === 'retired') return 'park'
    return this.#free.length === MAX_HELD || this.#jobs.some((job) => job !== undefined && isStarted(this.#slots, job.slot)) ? undefined : 'job'
  }

  /** The jobs that it holds. */
  jobs (): Job[] {
    return this.#jobs.filter((job) => job !== undefined)
  }

  /** Takes a job back: true if it hadn't started, and now won't. */
  revoke (job: Job): boolean {
    if (!revoke(this.#slots, job.slot)) return false
    // The slot stays taken until the host has seen it.
    this.#drop(job)
    return true
  }

  /** Takes back all that hasn't started, in order of their handing over, so that it can run elsewhere: not what has moved here. */
  revokeMovable (): Job[] {
    const reading = this.#reading()
    const revoked = this.#inOrder().filter((job) => job.transferList === undefined && this.revoke(job))
    // It runs none, and has not read what it was handed: that may be about to end it.
    if (this.held === 0) for (const job of revoked) if (reading.includes(job)) job.suspect = true
    return revoked
  }

  abort (job: Job, reason: unknown): void {
    abort(this.#slots, job.slot)
    this.#send({ abort: job.seq, reason: toWire(reason) })
  }

  /** Hears now what it has said already. */
  poll (): void {
    this.heardAt = performance.now()
    this.#receiveAll()
  }

  /**
   * Ends the thread at once, whatever it is doing.
   * @returns the jobs that it hadn't started, taken back first so that it can't start them in its last moments
   */
  kill (): Job[] {
    if (this.state === 'stopped' || this.why === 'killed') return []
    const unstarted = this.#inOrder().filter((job) => this.revoke(job))
    this.state = 'ending'
    this.why = 'killed'
    this.#os?.end()
    return unstarted
  }

  /** Gives it no more jobs, and ends it when that which it runs has ended. */
  recycle (): void {
    if (this.state !== 'ready') return
    this.state = 'ending'
    this.why = 'recycled'
    if (this.held === 0) this.#os?.end()
  }

  /** Lets the host return. It must hold nothing. */
  retire (): void {
    this.state = 'ending'
    this.why = 'retired'
    this.#send({ retire: true })
  }

  /** Ends the thread, also a parked one, for good. */
  destroy (): void {
    this.#os?.end()
  }

  /** There is no thread any more. */
  get gone (): boolean {
    return this.#os === undefined
  }

  #send (message: ToHost): void {
    this.#port?.postMessage(message)
    this.#posted++
  }

  readonly #onMessage = (message: FromHost): void => this.#receive(() => this.#handle(message))

  /** Each message is a transition of its own, so that an abort in `onProgress` takes effect before the next message is handled. */
  #receive (first: () => void): void {
    this.heardAt = performance.now()
    this.#transitions.run(first)
    // Reading on costs half of what an event a message costs.
    while (this.#receiveOne(this.#transitions.run)) {
      if (performance.now() - this.heardAt < MAX_READING) continue
      // Node too would read on, until there is nothing more, and a job may talk without end. A port without a listener is not read.
      const port = this.#port
      port?.off('message', this.#onMessage)
      outside(() => setImmediate(() => port?.on('message', this.#onMessage)))
      return
    }
  }

  /** Hears all that was said until now, as part of the transition that is under way. */
  #receiveAll (): void {
    for (let count = 0; count < MAX_BURST && this.#receiveOne((handle) => handle()); count++);
  }

  #receiveOne (run: (handle: () => void) => void): boolean {
    let next: { message: FromHost } | undefined
    try {
      next = this.#port === undefined ? undefined : receiveMessageOnPort(this.#port) as { message: FromHost } | undefined
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
      this.#dispatch(message)
    } catch (error) {
      this.#events.onFault(error)
    }
  }

  #dispatch (message: FromHost): void {
    if (Array.isArray(message)) this.#onOutcome(message)
    else if ('progress' in message) {
      heard(this.#slots)
      const job = this.#jobs[message.slot]
      if (job !== undefined) this.#events.onProgress(job, message.progress)
    } else if ('log' in message) {
      heard(this.#slots)
      const job = this.#jobs[message.slot]
      this.#events.onLog(job?.seq === message.seq ? job : undefined, message)
    } else if ('recycle' in message) this.#life.onRecycle(this, message.recycle)
    else if ('unread' in message) this.#onUnread(message.unread, fromWire(message.error))
    else if ('broken' in message) this.#life.onBroken(this, message)
    else {
      this.progress++
      this.heldUp = false
      if (this.state === 'starting') this.state = 'ready'
      this.wasReady = true
      this.#life.onReady(this)
    }
  }

  /** A message of the thread is lost: it is nested too deeply for this thread's stack, or too large. */
  #onUnreadable (error: unknown): void {
    const slot = this.#slots.outcomes.indexOf(++this.#received)
    const job = this.#jobs[slot]
    try {
      if (job !== undefined) this.#onOutcome([slot, UNREADABLE, error, this.heardAt - this.busySince])
      else {
        heard(this.#slots)
        this.#events.onUnreadable(this.#inOrder()[0], error)
      }
    } catch (error) {
      this.#events.onFault(error)
    }
  }

  /** The thread could not read a message of ours: none of the jobs that it brought will start, nor will its slots be spoken of. */
  #onUnread (ordinal: number, error: unknown): void {
    const slots = [...this.#broughtBy.keys()].filter((slot) => this.#broughtBy[slot] === ordinal && !this.#free.includes(slot))
    const jobs = this.#inOrder().filter(({ slot }) => slots.includes(slot))
    this.progress++
    this.heldUp = false
    for (const slot of slots) this.#vacate(slot)
    if (slots.length > 0) this.#events.onUnread(jobs, slots.length === 1, error)
  }

  #onOutcome (outcome: Outcome): void {
    const slot = outcome[0]
    const job = this.#jobs[slot]
    this.#vacate(slot)
    this.progress++
    this.heldUp = false
    if (job === undefined) { // taken back, and the host has seen it
      this.#events.onRoom()
      return
    }
    this.busySince = this.heardAt
    this.ended++
    this.served = true
    this.stalled = false
    this.#events.onOutcome(this, job, outcome)
  }

  /** The host is done with a slot, or never got it. */
  #vacate (slot: number): void {
    free(this.#slots, slot)
    this.#free.push(slot)
    const job = this.#jobs[slot]
    if (job !== undefined) this.#drop(job) // else it was taken back
  }

  #drop (job: Job): void {
    this.#jobs[job.slot] = undefined
    job.thread = undefined
    this.held--
    if (this.why === 'recycled' && this.held === 0) this.#os?.end()
  }

  /** The jobs that the message brings which the thread is reading, or reads next. */
  #reading (): Job[] {
    const next = (this.#slots.read[0] as number) + 1
    return this.jobs().filter(({ slot }) => this.#broughtBy[slot] === next)
  }

  #inOrder (): Job[] {
    return this.jobs().sort((a, b) => a.handedAt - b.handedAt || a.seq - b.seq)
  }

  #onGone (error: Error): void {
    const parked = this.state === 'stopped'
    this.#os = undefined
    if (parked) this.#life.onParkedDied(this, error)
    else this.#onEnded(error)
  }

  /** The host has returned, or its thread is gone. */
  #onEnded (error: Error | undefined): void {
    // What it said before it ended counts: its messages are here already.
    this.#receiveAll()
    const held = this.#inOrder()
    // A thread that ends by itself may have died of what it read.
    const suspects = this.why === undefined ? this.#reading() : []
    const unstarted = held.filter((job) => this.revoke(job))
    const lost = held.filter((job) => job.thread === this)
    for (const job of lost) this.#vacate(job.slot)
    for (const job of suspects) {
      job.suspect = true
      if (++job.threadsEnded >= MAX_THREADS_ENDED && unstarted.includes(job)) lost.push(job)
    }
    this.state = 'stopped'
    this.held = 0
    this.#jobs = []
    this.#port?.close()
    this.#port = undefined
    this.#life.onEnded(this, error, lost, unstarted.filter((job) => !lost.includes(job)))
  }
}
