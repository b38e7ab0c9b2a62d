/** One call of `run()`, from the call until the thread is done with it. */
import type { FastifyBaseLogger } from 'fastify'
import type { Priority, Transferable } from '../../../workers/jobs.ts'
import type { Live } from '../../shared/dense-set.ts'
import type { RegisteredJob } from '../registry.ts'
import { isSmall } from '../threads/payload-size.ts'
import { follow, unfollow, type Abortable } from './signals.ts'
import type { Thread } from '../threads/thread.ts'
import { Ticket } from '../admission/queue-entry.ts'

/** What {@link Job} needs to know beside its name. */
export interface JobSettings {
  readonly key: string
  readonly priority: Priority
  readonly timeout: number
  readonly payload: unknown
  readonly transferList: readonly Transferable[] | undefined
  readonly signals: readonly AbortSignal[]
  /** Whose leaving aborts the job. Read only once the job is admitted: the signal costs as much as all else that a refusal does. */
  readonly client: { readonly disconnected: AbortSignal } | undefined
  readonly log: FastifyBaseLogger
  readonly onProgress: ((value: unknown) => void) | undefined
}

/** Where a job's promise is settled from. */
export interface JobOwner {
  onAborted (job: Job, reason: unknown): void
  onDeadline (job: Job): void
}

export class Job extends Ticket implements Abortable, Live {
  readonly seq: number
  readonly registered: RegisteredJob
  readonly timeout: number
  readonly log: FastifyBaseLogger
  readonly transferList: readonly Transferable[] | undefined
  readonly onProgress: ((value: unknown) => void) | undefined
  readonly promise: Promise<unknown>
  payload: unknown
  /** Who holds it, and in which slot; undefined while it waits. */
  thread: Thread | undefined = undefined
  slot = -1
  /** How often it was handed to a thread. */
  attempt = 0
  /** A thread could not read the message that brought it, or died before it had: it goes alone, so that no other job is lost with it. */
  suspect = false
  /** How many threads have died while they were to read it. */
  threadsEnded = 0
  /** The log has a line about what it said and the main thread could not read. */
  saidUnreadable = false
  /** The caller has its answer. The thread may still be busy with it. */
  settled = false
  liveAt = -1
  /** When it was last handed to a thread. */
  handedAt = 0
  #isSmall: boolean | undefined
  #signals: readonly AbortSignal[]
  readonly #client: JobSettings['client']
  #timer: NodeJS.Timeout | undefined
  readonly #owner: JobOwner
  #resolve!: (value: unknown) => void
  #reject!: (error: unknown) => void

  constructor (seq: number, registered: RegisteredJob, settings: JobSettings, now: number, owner: JobOwner) {
    super(registered.index, settings.key, settings.priority, now + settings.timeout)
    this.seq = seq
    this.registered = registered
    this.timeout = settings.timeout
    this.log = settings.log
    this.transferList = settings.transferList
    this.onProgress = settings.onProgress
    this.payload = settings.payload
    this.#signals = settings.signals
    this.#client = settings.client
    this.#owner = owner
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  get name (): string {
    return this.registered.name
  }

  get id (): string {
    return String(this.seq)
  }

  /** Whether its payload may share a message with others. */
  get isSmall (): boolean {
    this.#isSmall ??= isSmall(this.payload)
    return this.#isSmall
  }

  get where (): 'queued' | 'running' {
    return this.thread === undefined ? 'queued' : 'running'
  }

  /** How long it waited for a thread, in ms; 0 if it never got one. */
  get waitMs (): number {
    return this.attempt === 0 ? 0 : this.handedAt - this.arrived
  }

  /** From its admission on, its signals are heard. One that aborted meanwhile, in a listener to the refusal of another, aborts it at once. */
  listen (): void {
    if (this.#client !== undefined) this.#signals = [...this.#signals, this.#client.disconnected]
    for (const signal of this.#signals) if (!this.settled) follow(signal, this)
  }

  /** Its deadline is near. */
  arm (now: number): void {
    this.#timer ??= setTimeout(() => this.#owner.onDeadline(this), Math.max(0, this.deadline - now)).unref()
  }

  /** Called by signals.ts. */
  aborted (reason: unknown): void {
    this.#owner.onAborted(this, reason)
  }

  resolve (value: unknown): void {
    this.#settle()
    this.#resolve(value)
  }

  reject (error: unknown): void {
    this.#settle()
    this.#reject(error)
  }

  #settle (): void {
    this.settled = true
    this.payload = undefined
    clearTimeout(this.#timer)
    for (const signal of this.#signals) unfollow(signal, this)
    this.#signals = []
  }
}
