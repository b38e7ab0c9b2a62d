/**
 * Task is a submitted task as the scheduler holds it, TaskHandle is what the submitter sees of it, and Attempt is one
 * run of its function.
 */
import { AsyncResource } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import type { TraceCarrier } from '../../workers/protocol.ts'
import { currentPart, runWork, Work } from '../cancellation/ambient.ts'
import type { DenseSetMember } from '../shared/collections/dense-set.ts'
import type { Unfinished } from '../shared/drainables.ts'
import type { TaskTrace } from './channels.ts'
import type { TaskAccount } from '../core/ledger/counts.ts'
import type { How, Outcome } from '../core/ledger/ledger.ts'
import type { TaskOptions } from './task-options.ts'
import type { Permit } from './running/capacity.ts'
import type { Entry } from '../core/line/entry.ts'

/** What the function of a task is given. */
export interface TaskContext {
  /** The task's id. */
  readonly id: string
  /** The part of the id before the first colon. */
  readonly name: string
  /** 1 for the first attempt, then 2, … */
  readonly attempt: number
  /** Aborts at the deadline, on cancel(), and when a shutdown gives the task up. It never aborts with the request. */
  readonly signal: AbortSignal
  /** When this attempt is aborted: epoch ms, or Infinity. */
  readonly deadline: number
  /**
   * The same text in each attempt and each run of this task, and another text in every other task. A stored task may
   * run more than once: pass this key to a service that does the same request once for each key, or write it into the
   * row that the task makes.
   */
  readonly idempotencyKey: string
  /** The app's logger, with the task's id and its request's. */
  readonly log: FastifyBaseLogger
}

/** The function of a task. */
export type TaskFunction<T> = (context: TaskContext) => T | PromiseLike<T>

/** A task with the status `waiting` waits for a slot or for its delay to pass. */
export type TaskStatus = 'waiting' | 'running' | 'retrying' | TaskEnd

/** How a task has ended. */
export type TaskEnd = 'completed' | 'failed' | 'aborted'

/** A task whose last attempt has passed its deadline, or whose processes have died, has failed. */
export function endOf (how: How): TaskEnd {
  return how === 'completed' || how === 'aborted' ? how : 'failed'
}

/** An accepted task, for the code that has submitted it. */
export interface TaskHandle<T = unknown> {
  /** The task's id. */
  readonly id: string
  /** Where the task is now. */
  readonly status: TaskStatus
  /**
   * Resolves to what the function returned, or rejects with its last error. A `done` that nobody reads never becomes an
   * unhandled rejection.
   */
  readonly done: Promise<T>
  /**
   * Aborts the task's signal, or takes the task out of the queue. `done` rejects with FC_ERR_TASK_ABORTED, unless the
   * task succeeds after all.
   */
  cancel (): void
}

export interface Submission {
  id: string
  /** The client or tenant whose share of the queue the task takes. */
  key: string
  fn: TaskFunction<unknown>
  options: TaskOptions
  /** Of the request in which the task was submitted. */
  reqId: string | undefined
  /** The trace of a task that another process has enqueued. Otherwise the async context of submit() holds the trace. */
  carrier?: TraceCarrier | undefined
  /**
   * Is there if an engine has stored the task. The engine runs each attempt as a task of its own, and stores the
   * retries.
   */
  stored?: StoredRun
}

export interface StoredRun {
  /** Attempts that were made before this one, here or in another process. */
  attempts: number
  idempotencyKey: string
  /** The time since the task was accepted, in ms. */
  ageMs: number
}

const resourceOptions = { requireManualDestroy: true }

export class Task {
  readonly submission: Submission
  readonly name: string
  /** When the task was accepted. */
  readonly acceptedAt: number
  /** The place in the queue of a task that had to wait for a slot, until its attempt has ended. The runner sets it. */
  entry: Entry | undefined
  /** The attempt that runs. The runner sets it. */
  running: Attempt | undefined
  readonly #permit: Permit | undefined
  readonly #canceller: Canceller
  /** The async context of the submitter. */
  #context: AsyncResource | undefined
  #handle: TaskHandle | undefined
  /** What the task is counted in. The ledger sets it. */
  account: TaskAccount | undefined
  /** The message of the tracing channel, while an attempt runs that somebody traces. */
  trace: TaskTrace | undefined
  /** Why the task is not tried again. The runner sets it. */
  abortedBy: Error | undefined
  #attempts: number
  #idempotencyKey: string | undefined
  #lastError: Error | undefined
  #status: TaskStatus = 'waiting'
  #value: unknown
  #done: Promise<unknown> | undefined
  #resolve: ((value: unknown) => void) | undefined
  #reject: ((error: unknown) => void) | undefined

  /** @param permit is given back when the task settles; an engine that bounds what it runs itself needs none */
  constructor (submission: Submission, permit: Permit | undefined, now: number, canceller: Canceller) {
    this.acceptedAt = now - (submission.stored?.ageMs ?? 0)
    this.submission = submission
    this.name = nameOf(submission.id)
    this.#permit = permit
    this.#canceller = canceller
    this.#attempts = submission.stored?.attempts ?? 0
  }

  get id (): string { return this.submission.id }
  get key (): string { return this.submission.key }
  get options (): TaskOptions { return this.submission.options }
  get reqId (): string | undefined { return this.submission.reqId }
  get attempts (): number { return this.#attempts }
  /** Why the task is tried again. */
  get lastError (): Error | undefined { return this.#lastError }
  get status (): TaskStatus { return this.#status }

  get idempotencyKey (): string {
    this.#idempotencyKey ??= this.submission.stored?.idempotencyKey ?? randomUUID()
    return this.#idempotencyKey
  }

  get handle (): TaskHandle {
    this.#handle ??= new Handle(this, this.#canceller)
    return this.#handle
  }

  get settled (): boolean {
    return this.#status === 'completed' || this.#status === 'failed' || this.#status === 'aborted'
  }

  /**
   * Keeps the async context of the submitter (its trace), in which each attempt is to run. Call this method before the
   * task waits: otherwise an attempt would run in the context of the task that ended before it.
   */
  keepContext (): void {
    this.#context ??= new AsyncResource('FastifyConcurrencyTask', resourceOptions)
  }

  callInContext<A, B, T> (callback: (a: A, b: B) => T, a: A, b: B): T {
    return this.#context === undefined ? callback(a, b) : this.#context.runInAsyncScope(callback, undefined, a, b)
  }

  start (): void {
    this.#status = 'running'
    this.#attempts++
    this.#permit?.run()
  }

  retry (error: Error): void {
    this.#status = 'retrying'
    this.#lastError = error
    this.#permit?.wait()
  }

  settle ({ how, value, error }: Outcome): void {
    this.#status = endOf(how)
    this.#value = how === 'completed' ? value : error
    this.#context?.emitDestroy()
    this.#permit?.[Symbol.dispose]()
    if (how === 'completed') return this.#resolve?.(value)
    this.#reject?.(error)
    this.#done?.catch(() => {})
  }

  /** The promise is created when it is first read: most are never read. */
  get done (): Promise<unknown> {
    this.#done ??= this.#outcome()
    return this.#done
  }

  #outcome (): Promise<unknown> {
    if (this.#status === 'completed') return Promise.resolve(this.#value)
    if (!this.settled) {
      return new Promise((resolve, reject) => {
        this.#resolve = resolve
        this.#reject = reject
      })
    }
    const failed = Promise.reject(this.#value)
    failed.catch(() => {})
    return failed
  }

  describe (now: number): Unfinished {
    const { id, name, attempts } = this
    return { kind: 'task', name, id, ageMs: Math.round(now - this.acceptedAt), attempt: attempts }
  }
}

/** Returns the name of a task in logs and metrics: the part of its id before the first colon. */
export function nameOf (id: string): string {
  const colon = id.indexOf(':')
  return colon > 0 ? id.slice(0, colon) : id
}

/** Returns the attempt that the running code is part of. */
export function currentAttempt (): Attempt | undefined {
  const part = currentPart()
  return part instanceof Attempt ? part : undefined
}

/** Returns the id of the current request, in a task that of the request which the task comes from. */
export function currentReqId (): string | undefined {
  const part = currentPart()
  if (part instanceof Attempt) return part.task.reqId
  return part instanceof Work ? undefined : part?.id
}

/**
 * Attempt is one run of a task's function: its deadline, its signal, and the context that the function gets.
 *
 * JavaScript can't stop a function. So an aborted attempt still counts as running until the function settles, and if
 * the function succeeds after all, the task has succeeded: an email that was sent isn't sent again.
 */
export class Attempt extends Work implements TaskContext, DenseSetMember {
  denseIndex = -1
  readonly attempt: number
  readonly startedAt: number
  /**
   * When the time of the attempt is over, on the runner's clock. Once the attempt is aborted: when its grace period is
   * over.
   */
  dueAt: number
  readonly #task: Task
  readonly #logger: FastifyBaseLogger
  #controller: AbortController | undefined
  #log: FastifyBaseLogger | undefined
  #reason: Error | undefined

  constructor (task: Task, now: number, logger: FastifyBaseLogger) {
    super()
    this.attempt = task.attempts
    this.startedAt = now
    this.dueAt = now + task.options.timeout
    this.#task = task
    this.#logger = logger
  }

  get task (): Task { return this.#task }
  get id (): string { return this.#task.id }
  get name (): string { return this.#task.name }
  get idempotencyKey (): string { return this.#task.idempotencyKey }
  /** Why the attempt was aborted, if it was. */
  get reason (): Error | undefined { return this.#reason }

  get deadline (): number {
    const { timeout } = this.#task.options
    return timeout === Infinity ? Infinity : Math.round(performance.timeOrigin + this.startedAt + timeout)
  }

  /** The controller is created when the signal is first read, as is the logger: most functions read neither. */
  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  get log (): FastifyBaseLogger {
    const { id, reqId } = this.#task
    this.#log ??= this.#logger.child(reqId === undefined ? { task: id } : { task: id, reqId })
    return this.#log
  }

  /**
   * Calls `fn` in the async context of the task's submitter, but outside the request: a disconnect must not abort the
   * jobs of the task.
   */
  call (fn: (attempt: Attempt) => unknown): unknown {
    return this.#task.callInContext(runWork<Attempt, unknown>, this, fn)
  }

  /** Aborts the signal. The first reason holds, and a further call gives the function no more time. */
  abort (reason: Error, graceEndsAt: number): void {
    this.dueAt = this.#reason === undefined ? graceEndsAt : Math.min(this.dueAt, graceEndsAt)
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#controller?.abort(reason)
  }
}

interface Canceller {
  abort (task: Task, why: string): void
}

class Handle implements TaskHandle {
  readonly #task: Task
  readonly #canceller: Canceller

  constructor (task: Task, canceller: Canceller) {
    this.#task = task
    this.#canceller = canceller
  }

  get id (): string { return this.#task.id }
  get status (): TaskStatus { return this.#task.status }
  get done (): Promise<unknown> { return this.#task.done }
  // A function of its own, since callers take the handle apart; made when it is read, since most never cancel.
  get cancel (): () => void {
    return () => this.#canceller.abort(this.#task, 'cancel() was called')
  }
}
