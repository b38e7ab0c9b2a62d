/**
 * Outcomes follows tasks that run in any process, for the handles whose `done` is read. It listens to a queue from the
 * first such handle on.
 */
import type { QueueEvents, QueueOptions } from 'bullmq'
import type * as Bullmq from 'bullmq'
import { ClosingError, TaskAbortedError } from '../../shared/errors.ts'
import { within } from '../../shared/within.ts'
import type { TaskHandle, TaskStatus } from '../task.ts'
import type { Connections } from './connections.ts'
import type { StoredQueue } from './queue.ts'
import { toError } from './stored.ts'

/**
 * How often Redis is asked about the tasks whose outcomes are waited for, in ms. Events may be lost: in an outage, by
 * their number, with the data of Redis.
 */
const POLL_INTERVAL_MS = 5_000

/** What a handle needs to know of its task. */
export interface Followed {
  id: string
  jobId: string
  queue: StoredQueue
}

interface Waiting {
  task: Followed
  resolve: (result: unknown) => void
  reject: (error: unknown) => void
}

export class Outcomes {
  readonly #bullmq: typeof Bullmq
  readonly #connections: Connections
  readonly #options: QueueOptions
  readonly #listeners = new Map<StoredQueue, Promise<QueueEvents>>()
  readonly #waiting = new Map<string, Set<Waiting>>()
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  /** @param options for a listener, with a connection of its own */
  constructor (bullmq: typeof Bullmq, connections: Connections, options: QueueOptions) {
    this.#bullmq = bullmq
    this.#connections = connections
    this.#options = options
  }

  /**
   * Resolves or rejects as the task does. Rejects with FC_ERR_CLOSING if this process closes first: the task goes on
   * elsewhere.
   */
  of (task: Followed): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw new ClosingError('The service')
      this.#waiting.set(task.jobId, (this.#waiting.get(task.jobId) ?? new Set()).add({ task, resolve, reject }))
      this.#timer ??= setInterval(() => { void this.#poll() }, POLL_INTERVAL_MS).unref()
      this.#follow(task).catch((error: unknown) => this.#settle(task.jobId, 'reject', error))
    })
  }

  /** @param patience how many ms to wait for outcomes that this process has not been told yet */
  async close (patience: number): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    await within(patience, this.#poll())
    for (const jobId of [...this.#waiting.keys()]) this.#settle(jobId, 'reject', new ClosingError('The service'))
    for (const listening of this.#listeners.values()) {
      listening.then(async (listener) => listener.close()).catch(() => {})
    }
  }

  async #follow (task: Followed): Promise<void> {
    await (this.#listeners.get(task.queue) ?? this.#listen(task.queue))
    // The task may have ended before we listened.
    await this.#check(task)
  }

  #listen (queue: StoredQueue): Promise<QueueEvents> {
    const listening = this.#start(queue)
    this.#listeners.set(queue, listening)
    listening.catch(() => this.#listeners.delete(queue))
    return listening
  }

  async #start (queue: StoredQueue): Promise<QueueEvents> {
    // From the last event on. BullMQ's own default is what comes after its first read, which may be later than our
    // first check of the task.
    const [last] = await queue.ask(queue.jobs.name,
      () => this.#connections.commands.xrevrange(queue.jobs.toKey('events'), '+', '-', 'COUNT', 1))
    if (this.#isClosed) throw new ClosingError('The service')
    const events = new this.#bullmq.QueueEvents(queue.jobs.name,
      { ...this.#options, connection: this.#connections.patient as never, lastEventId: last?.[0] ?? '0-0' })
    events.on('completed', ({ jobId, returnvalue }) => this.#settle(jobId, 'resolve', returnvalue ?? undefined))
    events.on('failed', ({ jobId }) => { void this.#recheck(jobId) })
    events.on('removed', ({ jobId }) => this.#settle(jobId, 'reject', undefined))
    events.on('error', () => {})
    return events
  }

  async #poll (): Promise<void> {
    await Promise.all([...this.#waiting.keys()].map((jobId) => this.#recheck(jobId)))
  }

  /** Asks Redis about a task that somebody waits for. If Redis doesn't answer, the next poll asks again. */
  async #recheck (jobId: string): Promise<void> {
    const [first] = this.#waiting.get(jobId) ?? []
    if (first !== undefined) await this.#check(first.task).catch(() => {})
  }

  async #check ({ id, jobId, queue }: Followed): Promise<void> {
    // Only a task that has completed has a result. The reason of an earlier attempt that failed is kept beside it.
    const [storedAt, finishedOn, result] = await queue.ask(id,
      () => this.#connections.commands.hmget(queue.jobs.toKey(jobId), 'timestamp', 'finishedOn', 'returnvalue'))
    // A task that waits or runs may have a large payload, which isn't read.
    if (storedAt !== null && finishedOn === null) return
    const job = await queue.ask(id, () => queue.jobs.getJob(jobId))
    if (job === undefined) return this.#settle(jobId, 'reject', undefined)
    if (job.finishedOn === undefined) return
    const { failedReason: reason } = job
    const hasFailed = result === null && reason !== undefined
    if (hasFailed) this.#settle(jobId, 'reject', toError(reason, job.stacktrace?.at(-1), id))
    else this.#settle(jobId, 'resolve', job.returnvalue ?? undefined)
  }

  /**
   * @param value undefined to reject because the task is gone: only a cancelled task is removed before the handles that
   * follow it know its outcome
   */
  #settle (jobId: string, how: 'resolve' | 'reject', value: unknown): void {
    for (const { task, ...waiting } of this.#waiting.get(jobId) ?? []) {
      waiting[how](how === 'reject' && value === undefined
        ? new TaskAbortedError(task.id, 'cancel() was called, or its outcome is not kept any more')
        : value)
    }
    this.#waiting.delete(jobId)
  }
}

/** Its `status` is known only from when `done` is first read: until then it stays `waiting`. */
export class StoredHandle implements TaskHandle {
  readonly #follow: () => Promise<unknown>
  readonly id: string
  readonly cancel: () => void
  #done: Promise<unknown> | undefined
  #status: TaskStatus = 'waiting'

  constructor (id: string, follow: () => Promise<unknown>, cancel: () => void) {
    this.id = id
    this.#follow = follow
    this.cancel = cancel
  }

  get status (): TaskStatus { return this.#status }

  get done (): Promise<unknown> {
    if (this.#done === undefined) {
      this.#done = this.#follow()
      this.#done.then(() => { this.#status = 'completed' }, (error: unknown) => {
        if (error instanceof TaskAbortedError) this.#status = 'aborted'
        else if (!(error instanceof ClosingError)) this.#status = 'failed'
      })
    }
    return this.#done
  }
}
