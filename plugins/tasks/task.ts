/** A task as it is submitted, held and seen from outside. */
import { AsyncResource } from 'node:async_hooks'
import type { FastifyBaseLogger } from 'fastify'
import type { Abandoned } from '../drainables.ts'
import type { Attempt } from './attempt.ts'
import type { Node } from './list.ts'
import type { TaskOptions } from './options.ts'

export interface TaskContext {
  readonly id: string
  /** The part of the id before the first colon. */
  readonly name: string
  /** 1, then 2, … */
  readonly attempt: number
  /** Aborts at the deadline, and when the task is cancelled, replaced, or abandoned by a shutdown. Never with the request. */
  readonly signal: AbortSignal
  /** When this attempt is aborted: epoch ms, or Infinity. */
  readonly deadline: number
  /** The app's logger, with the task's id and its request's. */
  readonly log: FastifyBaseLogger
}

export type TaskFunction<T> = (context: TaskContext) => T | PromiseLike<T>

/** `waiting` is for a slot, or for its delay to pass. */
export type TaskStatus = 'waiting' | 'running' | 'retrying' | 'completed' | 'failed' | 'aborted'

export interface TaskHandle<T = unknown> {
  readonly id: string
  readonly status: TaskStatus
  /** What the function returned, or its last error. Ignored, it never becomes an unhandled rejection. */
  readonly done: Promise<T>
  /** Aborts the task's signal, or takes it out of the queue. `done` rejects with FC_ERR_TASK_ABORTED, unless it succeeds after all. */
  cancel (): void
}

export interface Submission {
  id: string
  fn: TaskFunction<unknown>
  options: TaskOptions
  /** Of the request it was submitted in. */
  reqId: string | undefined
  /** Formatted only when read. */
  submittedAt: Error | undefined
}

export class Task {
  readonly id: string
  readonly fn: TaskFunction<unknown>
  readonly options: TaskOptions
  readonly reqId: string | undefined
  readonly since: number
  readonly handle: TaskHandle
  /** The submitter's async context (trace), in which each attempt runs: else it would be that of whichever task ended before. */
  readonly context = new AsyncResource('FastifyConcurrencyTask', { requireManualDestroy: true })
  readonly #submittedAt: Error | undefined
  status: TaskStatus = 'waiting'
  attempts = 0
  startedAt = 0
  lastError: Error | undefined
  /** Whether its place is free for others when it ends: not if another task has taken it over. */
  hasPlace = true
  current: Attempt | undefined
  /** Where it is, while it isn't running: in the queue, on a timer, or behind the task that it replaces. */
  node: Node<Task> | undefined
  timer: NodeJS.Timeout | undefined
  dueAt = 0
  behind: Task | undefined
  successor: Task | undefined
  #value: unknown
  #done: Promise<unknown> | undefined
  #resolve: ((value: unknown) => void) | undefined
  #reject: ((error: unknown) => void) | undefined

  constructor ({ id, fn, options, reqId, submittedAt }: Submission, since: number, cancel: (task: Task) => void) {
    this.id = id
    this.fn = fn
    this.options = options
    this.reqId = reqId
    this.since = since
    this.#submittedAt = submittedAt
    this.handle = new Handle(this, cancel)
  }

  get name (): string {
    const colon = this.id.indexOf(':')
    return colon > 0 ? this.id.slice(0, colon) : this.id
  }

  get stack (): string | undefined {
    return this.#submittedAt?.stack
  }

  get settled (): boolean {
    return this.status === 'completed' || this.status === 'failed' || this.status === 'aborted'
  }

  settle (status: 'completed' | 'failed' | 'aborted', value: unknown): void {
    this.status = status
    this.#value = value
    if (status === 'completed') this.#resolve?.(value)
    else this.#reject?.(value)
  }

  /** Made when first read: most are never looked at. */
  get done (): Promise<unknown> {
    if (this.#done === undefined) {
      this.#done = new Promise((resolve, reject) => {
        if (this.status === 'completed') resolve(this.#value)
        else if (this.settled) reject(this.#value)
        else [this.#resolve, this.#reject] = [resolve, reject]
      })
      this.#done.catch(() => {})
    }
    return this.#done
  }

  describe (now: number, withStack = false): Abandoned {
    const { id, name, attempts, stack } = this
    return { kind: 'task', name, id, ageMs: Math.round(now - this.since), attempt: attempts, ...(withStack && stack !== undefined ? { stack } : {}) }
  }
}

/** What callers get of a task. */
class Handle implements TaskHandle {
  readonly #task: Task
  readonly #cancel: (task: Task) => void

  constructor (task: Task, cancel: (task: Task) => void) {
    this.#task = task
    this.#cancel = cancel
  }

  get id (): string { return this.#task.id }
  get status (): TaskStatus { return this.#task.status }
  get done (): Promise<unknown> { return this.#task.done }
  cancel (): void { this.#cancel(this.#task) }
}
