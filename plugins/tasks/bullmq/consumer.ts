/**
 * Consumer takes stored tasks from Redis to run them in this process, by a Worker of BullMQ for each name, and holds
 * them until Redis knows what has become of them. What the process held when it ended is found by other processes once
 * its locks have expired. A shutdown hands back what it can't finish.
 */
import type { ConnectionOptions, Worker, WorkerOptions } from 'bullmq'
import type * as Bullmq from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import { IdleWaiters, type Drainable, type Unfinished } from '../../shared/drainables.ts'
import { TaskCrashedError } from '../../shared/errors.ts'
import { logSafely } from '../../shared/log.ts'
import { within } from '../../shared/within.ts'
import type { NamedTasks } from '../named/named.ts'
import { Scheduler, type TasksStats } from '../scheduler.ts'
import type { TaskLedger } from '../ledger.ts'
import type { Connections } from './connections.ts'
import { Delivery, type ConsumingProcess, type StoredJob } from './delivery.ts'
import { idOf, keyOf, toStoredTask, type StoredTask } from './stored.ts'
import { Suspects } from './suspects.ts'

/** How long a Worker waits after it could not reach Redis, in ms. BullMQ's own default is 15 s. */
const RETRY_DELAY_MS = 500
/** How long a process that ends waits for Redis to take tasks back, in ms. */
const HAND_BACK_TIMEOUT_MS = 250
/** How long a process that ends waits for Redis to close its connections, in ms. */
const CLOSE_TIMEOUT_MS = 100

export interface EngineDeps {
  named: NamedTasks
  ledger: TaskLedger
  log: FastifyBaseLogger
}

export interface ConsumerOptions {
  names: readonly string[]
  /** Tasks of one name that run at once. */
  concurrency: number
  grace: number
  lockDuration: number
  /** For each Worker. */
  worker: Omit<WorkerOptions, 'connection'>
  queueName: (name: string) => string
  /** The channel on which processes tell each other of cancelled tasks. */
  cancelChannel: string
  connections: Connections
}

interface TaskWorker extends Worker<StoredTask> {
  /**
   * Ends the timer that renews locks. A Worker that waits for Redis when it closes would never end the timer, nor would
   * the process end.
   */
  stopRenewing (): void
}

export class Consumer implements Drainable {
  readonly name = 'tasks'
  readonly phase = 'tasks'
  readonly #options: ConsumerOptions
  readonly #process: ConsumingProcess
  #workers: TaskWorker[] = []
  /**
   * What this process has taken from Redis and not yet answered for: what runs, and what has run and isn't written down
   * yet.
   */
  readonly #held = new Map<StoredJob, Delivery>()
  readonly #idle = new IdleWaiters()
  #closing: Promise<unknown> | undefined
  /** Whether Redis has taken back what was given up. */
  #isAnswered = true

  constructor (bullmq: typeof Bullmq, options: ConsumerOptions, deps: EngineDeps) {
    this.#options = options
    // Workers bound what runs.
    const runs = new Scheduler({
      concurrency: Math.max(options.concurrency * options.names.length, 1), maxQueue: 0, grace: options.grace
    }, deps)
    this.#process = {
      bullmq,
      named: deps.named,
      ledger: deps.ledger,
      log: deps.log,
      runs,
      isClosing: false,
      isGivingUp: false,
      suspects: new Suspects(options.connections.commands)
    }
  }

  get pending (): number { return this.#held.size }
  get timers (): number { return this.#process.runs.timers }

  stats (): TasksStats {
    return { ...this.#process.runs.stats(), completed: 0, failed: 0, retried: 0, aborted: 0 }
  }

  start (): void {
    if (this.#closing !== undefined || this.#options.names.length === 0) return
    const { connections, cancelChannel, names } = this.#options
    const client = connections.subscriber()
    client.on('message', (_channel: string, key: string) => this.#cancel(key))
    // What was published while the connection was away is lost, but the mark is stored.
    client.on('ready', () => { for (const { job, worker } of this.#held.values()) void this.#readMark(worker, job) })
    client.subscribe(cancelChannel).catch((err: unknown) =>
      this.#log('debug', { err }, 'tasks: no subscription to cancelled tasks'))
    this.#workers = names.map((name) => this.#createWorker(name))
  }

  /** Takes no more tasks from Redis. What runs goes on. */
  close (): void {
    this.#process.isClosing = true
    this.#closing ??= Promise.all(this.#workers.map((worker) => worker.close())).catch((err: unknown) =>
      this.#log('warn', { err }, 'tasks: a worker could not be closed'))
  }

  idle (): Promise<void> {
    return this.#idle.wait(this.pending)
  }

  /** Resolves when the Workers have ended, or after `patience` ms: a Redis that is away or frozen holds them up. */
  async closed (patience: number): Promise<void> {
    this.close()
    if (!await within(patience,
      this.#closing as Promise<unknown>)) for (const worker of this.#workers) worker.stopRenewing()
  }

  /** How long the engine is to wait for Redis when it closes, in ms. A Redis that answers takes a few. */
  get patience (): number {
    return this.#isAnswered && this.#options.connections.trouble === undefined ? CLOSE_TIMEOUT_MS : 0
  }

  held (): Unfinished[] {
    const now = performance.now()
    const held = [...this.#held.values()].map((delivery) => delivery.describe(now))
    // A function that ignores its signal may belong to a task whose outcome Redis does not know yet.
    const ids = new Set(held.map(({ id }) => id))
    return [...held, ...this.lost().filter(({ id }) => !ids.has(id))]
  }

  lost (): Unfinished[] {
    return this.#process.runs.lost()
  }

  /**
   * Aborts what runs, and hands it back to Redis, where another process takes it at once.
   *
   * @returns what could not be handed back: other processes take it when its locks expire
   */
  async giveUp (grace: number, force = Infinity): Promise<Unfinished[]> {
    this.close()
    this.#process.isGivingUp = true
    const endsAt = performance.now() + grace
    await this.#process.runs.giveUp(grace)
    const left = Math.max(endsAt - performance.now(), 0) + Math.min(force, HAND_BACK_TIMEOUT_MS)
    this.#isAnswered = await within(left, this.idle())
    const lost = this.held()
    // Redis is frozen, say. Nothing more can be done for them here, and nobody is to wait for them once more.
    this.#held.clear()
    this.#idle.wake()
    return lost
  }

  #createWorker (name: string): TaskWorker {
    const { queueName, worker: options, lockDuration, connections } = this.#options
    const [held, consuming] = [this.#held, this.#process]
    const release = (job: StoredJob): void => {
      held.delete(job)
      if (held.size === 0) this.#idle.wake()
    }
    const { JobNotExist, JobLockNotExist, JobLockMismatch } = consuming.bullmq.ErrorCode
    // By these errors Redis refuses the outcome of a job: the job has ended elsewhere, its lock has expired, or another
    // process has it.
    const isLost = (err: Error & { code?: unknown }): boolean =>
      [JobNotExist, JobLockNotExist, JobLockMismatch].includes(err.code as number)
    // Nothing that BullMQ publishes says when a job that lost its lock is done with, so the method that does all of it
    // is wrapped.
    class HoldingWorker extends consuming.bullmq.Worker<StoredTask> {
      override processJob (...[job, token,
        wantsNext]: Parameters<Worker<StoredTask>['processJob']>): ReturnType<Worker<StoredTask>['processJob']> {
        // Others may write to the queue, and what is thrown here, outside of a job, would end the process.
        job.data = toStoredTask(job.data)
        held.set(job, new Delivery(job, this, consuming, performance.now()))
        const processed = super.processJob(job, token, wantsNext)
        const isOver = (): void => release(job)
        processed.then(isOver, isOver)
        return processed
      }

      stopRenewing (): void {
        void this.lockManager.close()
      }

      /**
       * A job that this process has lost is not to fail because Redis refuses its result: the process that has it now
       * decides.
       */
      protected override async handleFailed (
        ...args: Parameters<Worker<StoredTask>['handleFailed']>): ReturnType<Worker<StoredTask>['handleFailed']> {
        return isLost(args[0]) ? undefined as never : await super.handleFailed(...args)
      }

      /**
       * Returns how long this Worker waits to be woken before it looks for tasks itself, in seconds. Redis wakes the
       * Worker that has waited longest, which may be one of a frozen process. Other Workers would then wait for 5 or 10
       * s, BullMQ's defaults.
       */
      protected override getBlockTimeout (blockUntil: number): number {
        return Math.min(super.getBlockTimeout(blockUntil), lockDuration / 8 / 1_000)
      }
    }
    const worker = new HoldingWorker(queueName(name), (job) => (held.get(job) as Delivery).run(), {
      ...options,
      lockDuration,
      // One check marks the tasks that run, and a later one moves those that have no lock. A process whose check comes
      // just too early for its turn checks one interval later, so checks are at most two intervals apart.
      stalledInterval: lockDuration / 4,
      runRetryDelay: RETRY_DELAY_MS,
      connection: connections.patient as unknown as ConnectionOptions
    })
    worker.on('stalled', (jobId) => { void this.#recovered(worker, jobId) })
    worker.on('lockRenewalFailed', (jobIds) => {
      for (const delivery of held.values()) {
        if (delivery.worker === worker &&
        jobIds.includes(delivery.job.id as string)) delivery.lostLock()
      }
    })
    worker.on('error', (err) => {
      this.#log(isLost(err) ? 'warn' : 'debug', { err, task: name }, isLost(err)
        ? 'tasks: a task has lost its lock while it ran, and its outcome is not stored: it runs again. Work that holds the event loop, a process that is stopped, or an outage of Redis was longer than lockDuration'
        : 'tasks: BullMQ')
    })
    return worker
  }

  #cancel (key: string): void {
    for (const delivery of this.#held.values()) if (keyOf(delivery.job) === key) delivery.cancel()
  }

  async #readMark (worker: Worker, { id }: StoredJob): Promise<void> {
    try {
      const job = await this.#process.bullmq.Job.fromId(worker, id as string) as StoredJob | undefined
      if (job?.data.cancelled === true) this.#cancel(keyOf(job))
    } catch (err) {
      this.#log('debug', { err }, 'tasks: could not read whether a task is cancelled')
    }
  }

  async #recovered (worker: Worker, jobId: string): Promise<void> {
    try {
      const job = await this.#process.bullmq.Job.fromId(worker, jobId) as StoredJob | undefined
      if (job === undefined) return
      const id = idOf(job.name, job.data, jobId)
      this.#process.ledger.recovered(id, job.attemptsMade + 1, new TaskCrashedError(id, job.stalledCounter))
    } catch (err) {
      this.#log('debug', { err }, 'tasks: BullMQ')
    }
  }

  #log (level: 'debug' | 'info' | 'warn' | 'error', fields: Record<string, unknown>, message: string): void {
    logSafely(this.#process.log, level, fields, message)
  }
}
