/**
 * Consumer runs stored tasks in this process, by a Worker of BullMQ for each name. Each attempt is a task of a scheduler of its own, which gives it
 * what a task in memory has: a deadline, a signal, a log, an outcome.
 *
 * What the process held when it ended is found by other processes once its locks have expired. A shutdown hands back what it can't finish.
 */
import type { ConnectionOptions, Job, Worker, WorkerOptions } from 'bullmq'
import type * as Bullmq from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import type { Clock } from '../../shared/clock.ts'
import { IdleWaiters, type Drainable, type Unfinished } from '../../shared/drainables.ts'
import { TaskAbortedError, TaskCrashedError, TaskDuplicateError, TasksFullError } from '../../shared/errors.ts'
import { logSafely } from '../../shared/log.ts'
import { within } from '../../shared/within.ts'
import type { NamedTasks } from '../named/named.ts'
import { StoredRetry } from '../running/retry.ts'
import { Scheduler, type TasksStats } from '../scheduler.ts'
import type { TaskTelemetry } from '../telemetry.ts'
import { toError } from '../thrown.ts'
import type { Connections } from './connections.ts'
import { Failure, idOf, keyOf, MAX_CRASHES, toOptions, toStoredTask, type StoredTask } from './stored.ts'

/** How long a Worker waits after it could not reach Redis, in ms. BullMQ's own default is 15 s. */
const RETRY_REDIS = 500
/** How long the engine waits for Redis when it closes, and beyond the grace period to hand tasks back, in ms. A Redis that answers takes a few. */
const FAREWELL = 250
/** A task that can't run here now, because an earlier run of it still does, is tried again after this time, in ms. */
const BUSY = 1_000

/** A task that has lost its process this often may be what ends processes. */
const SUSPECT = 2

type StoredJob = Job<StoredTask>

export interface EngineDeps {
  named: NamedTasks
  telemetry: TaskTelemetry
  log: FastifyBaseLogger
  clock: Clock
}

interface Held {
  id: string
  job: StoredJob
  worker: Worker
  since: number
  isCancelled: boolean
}

export interface ConsumerOptions {
  names: readonly string[]
  /** Tasks of one name that run at once. */
  concurrency: number
  grace: number
  /** For each Worker. */
  worker: Omit<WorkerOptions, 'connection'>
  queueName: (name: string) => string
  /** The channel on which processes tell each other of cancelled tasks. */
  cancelChannel: string
  connections: Connections
}

export class Consumer implements Drainable {
  readonly name = 'tasks'
  readonly phase = 'tasks'
  readonly #bullmq: typeof Bullmq
  readonly #deps: EngineDeps
  readonly #options: ConsumerOptions
  readonly #runs: Scheduler
  #workers: Worker[] = []
  /** What this process has taken from Redis and not yet answered for: what runs, and what has run and isn't written down yet. By the key of the job. */
  readonly #held = new Map<string, Held>()
  readonly #idle = new IdleWaiters()
  #closing: Promise<unknown> | undefined
  #isGivingUp = false
  /** The task that runs here although it may end the process. */
  #suspect: StoredJob | undefined
  #completed = 0

  constructor (bullmq: typeof Bullmq, options: ConsumerOptions, deps: EngineDeps) {
    this.#bullmq = bullmq
    this.#options = options
    this.#deps = deps
    // Workers bound what runs. The queue is for tasks whose slots are held by functions that ignore their signals.
    const concurrency = Math.max(options.concurrency * options.names.length, 1)
    this.#runs = new Scheduler({ concurrency, maxQueue: concurrency, grace: options.grace }, deps)
  }

  get completed (): number { return this.#completed }
  get pending (): number { return this.#held.size }
  get timers (): number { return this.#runs.timers }

  stats (): TasksStats {
    return this.#runs.stats()
  }

  start (): void {
    if (this.#closing !== undefined || this.#options.names.length === 0) return
    const { connections, cancelChannel, names } = this.#options
    const client = connections.subscriber()
    client.on('message', (_channel: string, key: string) => this.#cancel(key))
    // What was published while the connection was away is lost, but the mark is stored.
    client.on('ready', () => { for (const { job, worker } of this.#held.values()) void this.#readMark(worker, job) })
    client.subscribe(cancelChannel).catch((err: unknown) => this.#log('debug', { err }, 'tasks: no subscription to cancelled tasks'))
    this.#workers = names.map((name) => this.#createWorker(name))
  }

  /** Takes no more tasks from Redis. What runs goes on. */
  close (): void {
    this.#closing ??= Promise.all(this.#workers.map((worker) => worker.close())).catch((err: unknown) => this.#log('warn', { err }, 'tasks: a worker could not be closed'))
  }

  idle (): Promise<void> {
    return this.#idle.wait(this.pending)
  }

  /** Resolves when the Workers have ended, or Redis is away. */
  async closed (): Promise<void> {
    this.close()
    const isWorthIt = this.#options.connections.commands.status === 'ready' && !this.#isGivingUp
    await within(isWorthIt ? FAREWELL : 0, this.#closing as Promise<unknown>)
  }

  held (): Unfinished[] {
    const now = this.#deps.clock.now()
    const held = [...this.#held.values()].map(({ id, job, since }): Unfinished => ({ kind: 'task', name: job.name, id, ageMs: Math.round(now - since), attempt: job.attemptsMade + 1 }))
    return [...held, ...this.#runs.lost()]
  }

  lost (): Unfinished[] {
    return this.#runs.lost()
  }

  /**
   * Aborts what runs, and hands it back to Redis, where another process takes it at once.
   *
   * @returns what could not be handed back: other processes take it when its locks expire
   */
  async giveUp (grace: number): Promise<Unfinished[]> {
    this.close()
    this.#isGivingUp = true
    const { clock } = this.#deps
    const endsAt = clock.now() + grace
    await this.#runs.giveUp(grace)
    await within(Math.max(endsAt - clock.now(), 0) + FAREWELL, this.idle())
    const lost = this.held()
    // Redis is frozen, say. Nothing more can be done for them here, and nobody is to wait for them once more.
    this.#held.clear()
    this.#idle.wake()
    return lost
  }

  #createWorker (name: string): Worker {
    const { queueName, worker: options, connections } = this.#options
    const held = this.#held
    const hold = (job: StoredJob, worker: Worker): void => { held.set(keyOf(job), { id: idOf(job.name, job.data, job.id as string), job, worker, since: this.#deps.clock.now(), isCancelled: false }) }
    const release = (job: StoredJob): void => {
      // A second delivery of a job, after its lock was lost, is held on.
      if (held.get(keyOf(job))?.job === job) held.delete(keyOf(job))
      if (this.pending === 0) this.#idle.wake()
    }
    // Nothing that BullMQ publishes says when a job that lost its lock is done with, so the method that does all of it is wrapped.
    class HoldingWorker extends this.#bullmq.Worker<StoredTask> {
      override async processJob (...args: Parameters<Worker<StoredTask>['processJob']>): ReturnType<Worker<StoredTask>['processJob']> {
        // Others may write to the queue, and what is thrown here, outside of a job, would end the process.
        args[0].data = toStoredTask(args[0].data)
        hold(args[0], this)
        try {
          return await super.processJob(...args)
        } finally {
          release(args[0])
        }
      }
    }
    const worker = new HoldingWorker(queueName(name), (job, token) => this.#process(job, token), {
      ...options, runRetryDelay: RETRY_REDIS, connection: connections.patient as unknown as ConnectionOptions
    })
    worker.on('completed', () => { this.#completed++ })
    worker.on('stalled', (jobId) => { void this.#recovered(worker, jobId) })
    worker.on('lockRenewalFailed', (jobIds) => { for (const id of jobIds) this.#lostLock(keyOf({ queueName: worker.name, id })) })
    worker.on('error', (err) => this.#log('debug', { err, task: name }, 'tasks: BullMQ'))
    return worker
  }

  async #process (job: StoredJob, token: string | undefined): Promise<unknown> {
    const { named, telemetry } = this.#deps
    const { name, data: { payload, reqId, carrier }, attemptsMade } = job
    const jobId = job.id as string
    const id = idOf(name, job.data, jobId)
    if (this.#closing !== undefined) return await this.#handBack(job, token)
    if (job.data.cancelled === true) {
      const error = new TaskAbortedError(id, 'cancel() was called')
      telemetry.endedUnrun('aborted', id, attemptsMade, error)
      throw this.#failure(job, error, true)
    }
    if (job.stalledCounter >= MAX_CRASHES) {
      const error = new TaskCrashedError(id, job.stalledCounter)
      telemetry.endedUnrun('failed', id, attemptsMade, error)
      throw this.#failure(job, error)
    }
    // A task that ends its process ends the runs beside it too. So that these are not taken for the cause, only one task that may be it runs in a process.
    if (job.stalledCounter >= SUSPECT) {
      if (this.#suspect !== undefined) return await this.#runLater(job, token)
      this.#suspect = job
    }
    try {
      const handle = this.#runs.submit({
        id,
        key: name,
        reqId,
        carrier,
        fn: (context) => named.run(name, payload, context),
        options: toOptions(job.data, job.opts.attempts, named.defaults(name)),
        stored: { attempts: attemptsMade, idempotencyKey: job.repeatJobKey === undefined ? jobId : id, ageMs: Math.max(Date.now() - job.timestamp, 0) }
      })
      return this.#storable(await handle.done, id)
    } catch (thrown) {
      if (thrown instanceof StoredRetry) throw new Failure(thrown.cause as Error, thrown.delay)
      if (thrown instanceof TaskDuplicateError || thrown instanceof TasksFullError) return await this.#runLater(job, token)
      const isAborted = thrown instanceof TaskAbortedError
      const isCancelled = this.#held.get(keyOf(job))?.isCancelled === true
      if (isAborted && this.#isGivingUp && !isCancelled) return await this.#handBack(job, token)
      throw this.#failure(job, toError(id, thrown), isAborted && isCancelled)
    } finally {
      if (this.#suspect === job) this.#suspect = undefined
    }
  }

  /** A task that was cancelled has not failed, so it isn't kept among those that have. */
  #failure (job: StoredJob, error: Error, isCancelled = false): Failure {
    if (isCancelled) job.opts.removeOnFail = true
    return new Failure(error, -1)
  }

  /** Returns the result as far as it can be stored. The task has done its work: a result that JSON can't hold must not make it run again. */
  #storable (result: unknown, id: string): unknown {
    try {
      if (typeof result === 'object' || typeof result === 'bigint') JSON.stringify(result)
      return typeof result === 'function' || typeof result === 'symbol' ? undefined : result
    } catch (err) {
      this.#log('warn', { err, task: id }, 'tasks: the result of a task can\'t be stored as JSON: its handle resolves to undefined')
      return undefined
    }
  }

  /** Puts the task back, first in line. The attempt doesn't count. */
  async #handBack (job: StoredJob, token: string | undefined): Promise<never> {
    try {
      await job.moveToWait(token)
      this.#log('info', { task: idOf(job.name, job.data, job.id as string) }, 'tasks: a task was handed back: another process runs it')
    } catch (err) {
      this.#log('error', { err, task: idOf(job.name, job.data, job.id as string) }, 'tasks: a task could not be handed back: another process runs it when its lock expires')
    }
    throw new this.#bullmq.WaitingError()
  }

  async #runLater (job: StoredJob, token: string | undefined): Promise<never> {
    await job.moveToDelayed(Date.now() + BUSY, token)
    throw new this.#bullmq.DelayedError()
  }

  #cancel (key: string): void {
    const held = this.#held.get(key)
    if (held === undefined) return
    held.isCancelled = true
    this.#runs.cancel(held.id, 'cancel() was called')
  }

  async #readMark (worker: Worker, { id }: StoredJob): Promise<void> {
    try {
      const job = await this.#bullmq.Job.fromId(worker, id as string) as StoredJob | undefined
      if (job?.data.cancelled === true) this.#cancel(keyOf(job))
    } catch (err) {
      this.#log('debug', { err }, 'tasks: could not read whether a task is cancelled')
    }
  }

  /** Another process may run the task by now. */
  #lostLock (key: string): void {
    const held = this.#held.get(key)
    if (held !== undefined) this.#runs.cancel(held.id, 'its lock has expired, and another process may run it')
  }

  async #recovered (worker: Worker, jobId: string): Promise<void> {
    try {
      const job = await this.#bullmq.Job.fromId(worker, jobId) as StoredJob | undefined
      if (job === undefined) return
      const id = idOf(job.name, job.data, jobId)
      this.#deps.telemetry.recovered(id, job.attemptsMade + 1, new TaskCrashedError(id, job.stalledCounter))
    } catch (err) {
      this.#log('debug', { err }, 'tasks: BullMQ')
    }
  }

  #log (level: 'debug' | 'info' | 'warn' | 'error', fields: Record<string, unknown>, message: string): void {
    logSafely(this.#deps.log, level, fields, message)
  }
}
