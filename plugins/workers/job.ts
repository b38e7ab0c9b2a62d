/**
 * One call of `run()`. It passes from the decorator through the pool and admission to a thread, and settles its
 * caller's promise. The functions at the end make an outcome of what a thread answers.
 */
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { uncloneablePath } from '../../workers/cloneable.ts'
import type { Priority, Transferable } from '../../workers/jobs.ts'
import { COMPLETED, FAILED, SKIPPED, UNREADABLE, type JobOutcome } from '../../workers/protocol.ts'
import { fromWire } from '../../workers/wire-error.ts'
import { endOf, kEnd, type Abortable } from '../cancellation/request-end.ts'
import type { DenseSetMember } from '../shared/collections/dense-set.ts'
import { Entry } from '../core/line/entry.ts'
import type { JobTrace } from './channels.ts'
import { completed, failed, type Outcome } from '../core/ledger/ledger.ts'
import {
  ClosingError, JobAbortedError, JobCrashedError, JobThrewError, JobTimeoutError, PayloadNotCloneableError,
  ResultNotCloneableError, WorkersOverloadedError, WorkersUnavailableError
} from '../shared/errors.ts'
import type { RegisteredJob } from './registry.ts'
import { follow, unfollow } from './signals.ts'

/** What the decorator says about a job. */
export interface JobSettings {
  readonly key: string
  readonly priority: Priority
  readonly timeout: number
  readonly payload: unknown
  readonly transferList: readonly Transferable[] | undefined
  readonly signals: readonly AbortSignal[]
  /**
   * The request whose end aborts the job. It is followed only once the job is admitted, since a refusal must cost
   * little.
   */
  readonly client: FastifyRequest | undefined
  /** The request in which the job was run, also of a detached job. */
  readonly request: FastifyRequest | undefined
  readonly log: FastifyBaseLogger
  readonly onProgress: ((value: unknown) => void) | undefined
}

/** What the pool needs of the thread that has a job. */
export interface JobHolder {
  /** Handles the messages that the thread has posted and nobody has read. */
  poll (): void
  /**
   * Stops a job. A job that has not started never will. A job that runs is asked to stop, and its thread is ended after
   * `grace` ms.
   * @returns whether the thread is done with the job, because the job had not started
   */
  stop (job: Job, reason: unknown, grace: number): boolean
}

const noSignals: readonly AbortSignal[] = []
const ignore = (): void => {}

type OnStop = (job: Job, why: { aborted: unknown } | 'deadline') => void

export class Job extends Entry implements Abortable, DenseSetMember {
  readonly seq: number
  readonly registered: RegisteredJob
  readonly timeout: number
  readonly log: FastifyBaseLogger
  readonly request: FastifyRequest | undefined
  readonly transferList: readonly Transferable[] | undefined
  readonly onProgress: ((value: unknown) => void) | undefined
  readonly promise: Promise<unknown>
  payload: unknown
  /** The thread that has the job, and the slot there; undefined while the job waits. */
  holder: JobHolder | undefined = undefined
  slot = -1
  /** What the job has reported last. */
  progress: unknown
  /** How often the job was handed to a thread. */
  attempt = 0
  /** When the job was last handed to a thread. */
  handedAt = 0
  /** How many threads have died while they were to read the job. */
  threadsEnded = 0
  /** The log has a line about progress of the job that the main thread could not read. */
  progressUnreadLogged = false
  /** The message of the tracing channel, if somebody traced the call. */
  trace: JobTrace | undefined = undefined
  /** The caller has its answer. */
  settled = false
  denseIndex = -1
  #signals: readonly AbortSignal[]
  readonly #client: JobSettings['client']
  #timer: NodeJS.Timeout | undefined
  readonly #onStop: OnStop
  #resolve!: (value: unknown) => void
  #reject!: (error: unknown) => void

  /** @param onStop called when a signal aborts or the deadline passes before the job has settled */
  constructor (seq: number, registered: RegisteredJob, settings: JobSettings, now: number, onStop: OnStop) {
    super(registered.index, settings.key, settings.priority, now + settings.timeout)
    this.seq = seq
    this.registered = registered
    this.timeout = settings.timeout
    this.log = settings.log
    this.request = settings.request
    this.transferList = settings.transferList
    this.onProgress = settings.onProgress
    this.payload = settings.payload
    this.#signals = settings.signals
    this.#client = settings.client
    this.#onStop = onStop
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

  get where (): 'queued' | 'running' {
    return this.holder === undefined ? 'queued' : 'running'
  }

  /** The time that the job waited for a thread, in ms; 0 if it never got one. */
  get waitMs (): number {
    return this.attempt === 0 ? 0 : this.handedAt - this.arrived
  }

  /**
   * Follows the deadline, the end of the request and the signals, from admission on. A signal that has aborted
   * meanwhile, in a listener to the refusal of another job, aborts the job at once.
   */
  listen (): void {
    if (this.timeout !== Infinity) this.#timer = setTimeout(this.#onStop, this.timeout, this, 'deadline').unref()
    if (this.#client !== undefined) endOf(this.#client).follow(this)
    for (const signal of this.#signals) if (!this.settled) follow(signal, this)
  }

  /** Called when the request has ended or a signal has aborted. */
  aborted (reason: unknown): void {
    this.#onStop(this, { aborted: reason })
  }

  /** Gives the caller its answer. */
  settle ({ how, value, error }: Outcome): void {
    this.settled = true
    this.payload = undefined
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#client?.[kEnd]?.unfollow(this)
    for (const signal of this.#signals) unfollow(signal, this)
    this.#signals = noSignals
    if (how === 'completed') {
      this.#resolve(value)
      return
    }
    if (how !== 'failed' || isCausedOutside(error)) this.promise.catch(ignore)
    this.#reject(error)
  }
}

/** The payload of the job has not reached its thread: it could not be posted, or could not be read there. */
export function undelivered ({ name, payload, transferList }: Job, cause: unknown, wasPosted: boolean): Outcome {
  const what = wasPosted
    ? 'payload is nested too deeply, or too large, for the thread to read'
    : uncloneablePath(payload, 'payload', transferList, cause)
  return failed(new PayloadNotCloneableError(name, what, { cause }))
}

/** The job has run to its end, or its result didn't arrive. Undefined for a job that the thread skipped. */
export function answered (name: string, [, status, value, ms]: JobOutcome): Outcome | undefined {
  if (status === SKIPPED) return undefined
  if (status === COMPLETED) return completed(value, ms)
  if (status === UNREADABLE) {
    return failed(new ResultNotCloneableError(name,
      'result is nested too deeply, or too large, for the main thread to read', { cause: value }), ms)
  }
  if (status !== FAILED) {
    return failed(new ResultNotCloneableError(name, value.path, { cause: fromWire(value.cause) }), ms)
  }
  const thrown = fromWire(value)
  return failed(value.isError ? thrown : new JobThrewError(name, value.message, { cause: thrown }), ms)
}

const causedOutside = [WorkersOverloadedError, WorkersUnavailableError, JobAbortedError, JobTimeoutError,
  JobCrashedError, ClosingError]

/**
 * Tells whether the load, a client, a thread or a shutdown caused an error, and no code of the application. Such an
 * error doesn't end the process if nobody awaits its promise: of two jobs that a handler awaits one after the other,
 * the second may reject before it is awaited.
 */
export function isCausedOutside (error: unknown): boolean {
  return causedOutside.some((each) => error instanceof each)
}
