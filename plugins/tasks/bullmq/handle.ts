/** Outcomes follows tasks that run in any process, for the handles whose `done` is read. It listens to a queue from the first such handle on. */
import type { Queue, QueueEvents, QueueOptions } from 'bullmq'
import type * as Bullmq from 'bullmq'
import { ClosingError, TaskAbortedError } from '../../shared/errors.ts'
import type { TaskHandle, TaskStatus } from '../task.ts'
import type { Connections } from './connections.ts'
import { toError, type StoredTask } from './stored.ts'

type StoredQueue = Queue<StoredTask>

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
  #isClosed = false

  /** @param options for a listener, with a connection of its own */
  constructor (bullmq: typeof Bullmq, connections: Connections, options: QueueOptions) {
    this.#bullmq = bullmq
    this.#connections = connections
    this.#options = options
    // Events of an outage may be lost, with the data of Redis or by their number.
    connections.commands.on('ready', () => { void this.#lookAgain() })
  }

  /** Resolves or rejects as the task does. Rejects with FC_ERR_CLOSING if this process closes first: the task goes on elsewhere. */
  async of (task: Followed): Promise<unknown> {
    await (this.#listeners.get(task.queue) ?? this.#listen(task.queue))
    if (this.#isClosed) throw new ClosingError('The service')
    const outcome = new Promise((resolve, reject) => {
      const waiting = { task, resolve, reject }
      this.#waiting.set(task.jobId, (this.#waiting.get(task.jobId) ?? new Set()).add(waiting))
    })
    // The task may have ended before we listened.
    this.#look(task).catch((error: unknown) => this.#settle(task.jobId, 'reject', error))
    return await outcome
  }

  async close (): Promise<void> {
    this.#isClosed = true
    // What has ended while the service drained may not have been heard of yet.
    await this.#lookAgain()
    for (const jobId of [...this.#waiting.keys()]) this.#settle(jobId, 'reject', new ClosingError('The service'))
    const listeners = await Promise.allSettled(this.#listeners.values())
    for (const listener of listeners) if (listener.status === 'fulfilled') listener.value.close().catch(() => {})
  }

  #listen (queue: StoredQueue): Promise<QueueEvents> {
    const listening = this.#start(queue)
    this.#listeners.set(queue, listening)
    listening.catch(() => this.#listeners.delete(queue))
    return listening
  }

  async #start (queue: StoredQueue): Promise<QueueEvents> {
    // From the last event on. BullMQ's own default is what comes after its first read, which may be later than our first look at the task.
    const [last] = await this.#connections.ask(queue.name, () => this.#connections.commands.xrevrange(queue.keys['events'] as string, '+', '-', 'COUNT', 1))
    const events = new this.#bullmq.QueueEvents(queue.name, { ...this.#options, connection: this.#connections.patient as never, lastEventId: last?.[0] ?? '0-0' })
    events.on('completed', ({ jobId, returnvalue }) => this.#settle(jobId, 'resolve', returnvalue ?? undefined))
    events.on('failed', ({ jobId, failedReason }) => { void this.#failed(queue, jobId, failedReason) })
    events.on('removed', ({ jobId }) => this.#settle(jobId, 'reject', undefined))
    events.on('error', () => {})
    return events
  }

  async #failed (queue: StoredQueue, jobId: string, reason: string): Promise<void> {
    if (!this.#waiting.has(jobId)) return
    const job = await this.#connections.ask(jobId, () => queue.getJob(jobId)).catch(() => undefined)
    this.#settle(jobId, 'reject', job === undefined ? undefined : toError(reason, job.stacktrace?.at(-1)))
  }

  async #lookAgain (): Promise<void> {
    const tasks = [...this.#waiting.values()].flatMap((all) => [...all].slice(0, 1).map(({ task }) => task))
    await Promise.allSettled(tasks.map((task) => this.#look(task)))
  }

  async #look ({ id, jobId, queue }: Followed): Promise<void> {
    const job = await this.#connections.ask(id, () => queue.getJob(jobId))
    if (job === undefined) return this.#settle(jobId, 'reject', undefined)
    if (job.finishedOn === undefined) return
    if (job.failedReason !== undefined) this.#settle(jobId, 'reject', toError(job.failedReason, job.stacktrace?.at(-1)))
    else this.#settle(jobId, 'resolve', job.returnvalue ?? undefined)
  }

  /** @param value undefined to reject because the task is gone: only a cancelled task is removed before the handles that follow it know its outcome */
  #settle (jobId: string, how: 'resolve' | 'reject', value: unknown): void {
    for (const { task, ...waiting } of this.#waiting.get(jobId) ?? []) {
      waiting[how](how === 'reject' && value === undefined ? new TaskAbortedError(task.id, 'cancel() was called, or its outcome is not kept any more') : value)
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
