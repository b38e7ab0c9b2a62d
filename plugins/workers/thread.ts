/**
 * The main thread's end of one host: hands it jobs, hears how they ended, takes back what hasn't started, aborts, kills.
 * It knows who runs where; what becomes of a job is the pool's to decide.
 */
import { MessageChannel, receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import type { FromHost, Handover, HostData, Outcome, ToHost } from '../../workers/protocol.ts'
import { abort, assign, createSlots, free, revoke, type Slots } from '../../workers/slots.ts'
import { toWire } from '../../workers/wire-error.ts'
import type { Job } from './job.ts'
import { outside } from './outside.ts'
import type { Host, Threads } from './piscina.ts'

/** How many jobs a thread may hold: the one it runs and those handed ahead. */
export const MAX_HELD = 64

/** Messages taken in one turn of the event loop: a job that logs in a loop must not hold it. */
const MAX_BURST = 256

/** What a thread says of its jobs. */
export interface JobEvents {
  onOutcome (thread: Thread, job: Job, outcome: Outcome): void
  onLog (job: Job, message: Extract<FromHost, { log: unknown }>): void
  onProgress (job: Job, value: unknown): void
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
  /** `started` was running; `unstarted`, in order, never did. */
  onEnded (thread: Thread, error: Error | undefined, started: Job | undefined, unstarted: readonly Job[]): void
}

export class Thread {
  readonly index: number
  /** `ending`: told to retire or being killed. */
  state: 'stopped' | 'starting' | 'ready' | 'ending' = 'stopped'
  /** Jobs that it has and that haven't been taken back. */
  held = 0
  /** How many it had when it was last handed some. */
  filled = 0
  /** How many jobs it has ended: a thread on which this stands still is stuck in one. */
  ended = 0
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
  #host: Host | undefined
  #port: MessagePort | undefined
  #slots: Slots = createSlots(MAX_HELD)
  #jobs: Array<Job | undefined> = []
  #free: number[] = []

  constructor (index: number, life: LifeEvents, events: JobEvents) {
    this.index = index
    this.#life = life
    this.#events = events
  }

  start (threads: Threads, settings: Pick<HostData, 'url' | 'names' | 'preload' | 'maxMemory'>): void {
    const { port1, port2 } = new MessageChannel()
    this.state = 'starting'
    this.wasReady = false
    this.why = undefined
    this.#slots = createSlots(MAX_HELD)
    this.#free = Array.from({ length: MAX_HELD }, (_, index) => MAX_HELD - 1 - index)
    this.#jobs = []
    this.#port = port1
    outside(() => {
      port1.on('message', (message: FromHost) => this.#receive(message))
      this.#host = threads.start({ ...settings, port: port2, slots: this.#slots })
      void this.#host.ended.then((error) => this.#onEnded(error))
    })
  }

  /**
   * Hands over jobs, in order.
   * @throws DataCloneError if a payload can't be cloned: then none was handed over
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
    try {
      if (transferList === undefined) this.#port?.postMessage(handover)
      else this.#port?.postMessage(handover, transferList)
    } catch (error) {
      for (const job of jobs) this.#forget(job)
      throw error
    }
    for (const job of jobs) job.attempt++
    this.filled = this.held
  }

  /** How many more jobs it can be handed: a slot taken back stays taken until the host has seen it. */
  get room (): number {
    return this.#free.length
  }

  /** The jobs that it holds. */
  jobs (): Job[] {
    return this.#jobs.filter((job) => job !== undefined)
  }

  /** Takes a job back: true if it hadn't started, and now won't. */
  revoke (job: Job): boolean {
    if (!revoke(this.#slots, job.slot)) return false
    // The slot stays taken until the host has seen it.
    this.#jobs[job.slot] = undefined
    job.thread = undefined
    this.held--
    return true
  }

  /** Takes back all that hasn't started, in order of their handing over. */
  revokeAll (): Job[] {
    return this.#inOrder().filter((job) => this.revoke(job))
  }

  abort (job: Job, reason: unknown): void {
    abort(this.#slots, job.slot)
    this.#send({ abort: job.seq, reason: toWire(reason) })
  }

  /** Ends the thread at once, whatever it is doing. */
  kill (): void {
    if (this.state === 'stopped' || this.why === 'killed') return
    this.state = 'ending'
    this.why = 'killed'
    this.#host?.kill()
  }

  /** Gives it no more jobs, and ends it when that which it runs has ended. */
  recycle (): void {
    if (this.state !== 'ready') return
    this.state = 'ending'
    this.why = 'recycled'
    if (this.held === 0) this.#host?.kill()
  }

  /** Lets the host return. It must hold nothing. */
  retire (): void {
    this.state = 'ending'
    this.why = 'retired'
    this.#send({ retire: true })
  }

  #send (message: ToHost): void {
    this.#port?.postMessage(message)
  }

  #receive (first: FromHost): void {
    this.heardAt = performance.now()
    this.#handle(first)
    // Reading on costs half of what an event a message costs.
    for (let count = 1; count < MAX_BURST && this.#receiveOne(); count++);
  }

  #receiveOne (): boolean {
    const next = this.#port === undefined ? undefined : receiveMessageOnPort(this.#port) as { message: FromHost } | undefined
    if (next === undefined) return false
    this.#handle(next.message)
    return true
  }

  #handle (message: FromHost): void {
    if (Array.isArray(message)) this.#onOutcome(message)
    else if ('progress' in message) this.#withJob(message.slot, (job) => this.#events.onProgress(job, message.progress))
    else if ('log' in message) this.#withJob(message.slot, (job) => this.#events.onLog(job, message))
    else if ('recycle' in message) this.#life.onRecycle(this, message.recycle)
    else if ('broken' in message) this.#life.onBroken(this, message)
    else {
      if (this.state === 'starting') this.state = 'ready'
      this.wasReady = true
      this.#life.onReady(this)
    }
  }

  #withJob (slot: number, call: (job: Job) => void): void {
    const job = this.#jobs[slot]
    if (job !== undefined) call(job)
  }

  #onOutcome (outcome: Outcome): void {
    const slot = outcome[0]
    const job = this.#jobs[slot]
    if (job !== undefined) {
      this.#forget(job)
      this.busySince = this.heardAt
      if (this.why === 'recycled' && this.held === 0) this.#host?.kill()
    } else { // taken back, and the host has seen it
      free(this.#slots, slot)
      this.#free.push(slot)
      this.#events.onRoom()
      return
    }
    this.ended++
    this.#events.onOutcome(this, job, outcome)
  }

  #forget (job: Job): void {
    free(this.#slots, job.slot)
    this.#free.push(job.slot)
    this.#jobs[job.slot] = undefined
    job.thread = undefined
    this.held--
  }

  #inOrder (): Job[] {
    return this.jobs().sort((a, b) => a.handedAt - b.handedAt || a.seq - b.seq)
  }

  #onEnded (error: Error | undefined): void {
    // What it said before it ended counts: its messages are here already.
    while (this.#receiveOne());
    const held = this.#inOrder()
    const unstarted = held.filter((job) => this.revoke(job))
    const started = held.find((job) => job.thread === this)
    if (started !== undefined) this.#forget(started)
    this.state = 'stopped'
    this.held = 0
    this.#jobs = []
    this.#port?.close()
    this.#port = undefined
    this.#host = undefined
    this.#life.onEnded(this, error, started, unstarted)
  }
}
