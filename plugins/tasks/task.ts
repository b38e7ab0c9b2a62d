/** A task as it is submitted, held and seen from outside. */
import { AsyncResource } from 'node:async_hooks'
import type { Unfinished } from '../shared/drainables.ts'
import type { Attempt, TaskContext } from './attempt.ts'
import type { Linked, List } from './list.ts'
import type { TaskOptions } from './options.ts'

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
  submittedAt: { stack: string } | undefined
}

export type Outcome = 'completed' | 'failed' | 'aborted'

/**
 * An AsyncResource, since each attempt must run in the async context of the submitter (its trace): else it would run in that of
 * whichever task happened to end before.
 */
export class Task extends AsyncResource implements Linked<Task> {
  readonly submission: Submission
  readonly since: number
  readonly handle: TaskHandle
  status: TaskStatus = 'waiting'
  attempts = 0
  startedAt = 0
  current: Attempt | undefined
  lastError: Error | undefined
  /** Why it is not to be tried again. */
  cancelled: Error | undefined
  /** On the runner's clock: when its delay or its attempt is over; while aborted, when its grace is. */
  dueAt = 0
  /** Whether its place is free for others when it ends: not if another task has taken it over. */
  hasPlace = true
  /** Where it is, while it isn't running: in the queue, on a timer, or behind the task that it replaces. */
  list: List<Task> | undefined
  previous: Task | undefined
  next: Task | undefined
  timer: NodeJS.Timeout | undefined
  /** The task of the same id that waits until the function of this one has ended. */
  successor: Task | undefined
  #value: unknown
  #done: Promise<unknown> | undefined
  #resolve: ((value: unknown) => void) | undefined
  #reject: ((error: unknown) => void) | undefined

  constructor (submission: Submission, since: number, canceller: Canceller) {
    super('FastifyConcurrencyTask', { requireManualDestroy: true })
    this.submission = submission
    this.since = since
    this.handle = new Handle(this, canceller)
  }

  get id (): string { return this.submission.id }
  get options (): TaskOptions { return this.submission.options }
  get reqId (): string | undefined { return this.submission.reqId }
  get stack (): string | undefined { return this.submission.submittedAt?.stack }

  get name (): string { return nameOf(this.id) }

  get settled (): boolean {
    return this.status === 'completed' || this.status === 'failed' || this.status === 'aborted'
  }

  settle (outcome: Outcome, value: unknown): void {
    this.status = outcome
    this.#value = value
    this.emitDestroy()
    if (outcome === 'completed') this.#resolve?.(value)
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

  describe (now: number, withStack = false): Unfinished {
    const { id, name, attempts, stack } = this
    return { kind: 'task', name, id, ageMs: Math.round(now - this.since), attempt: attempts, ...(withStack && stack !== undefined ? { stack } : {}) }
  }
}

/** The name of a task in logs and metrics: the part of its id before the first colon. */
export function nameOf (id: string): string {
  const colon = id.indexOf(':')
  return colon > 0 ? id.slice(0, colon) : id
}

interface Canceller {
  cancel (task: Task, why: string): void
}

/** What callers get of a task. */
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
  cancel (): void { this.#canceller.cancel(this.#task, 'cancelled') }
}
