/**
 * Consumer takes stored tasks from Redis to run them in this process, by a Worker of BullMQ for each name, and holds
 * them until Redis knows what has become of them. What the process held when it ended is found by other processes once
 * its locks have expired. A shutdown hands back what it can't finish.
 */
import type { Worker, WorkerOptions } from 'bullmq'
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
import { Delivery, Suspects, type Receiver, type StoredJob } from './delivery.ts'
import type { KeyPermits } from './keys/permits.ts'
import { idOf, keyOf } from './stored.ts'
import { createWorker, isLost, type TaskWorker } from './worker.ts'

/** Redis must not have refused for this long before it is said to work again, in ms: longer than a Worker pauses. */
const CALM_MS = 3_000
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
  permits: ReadonlyMap<string, KeyPermits>
}

export class Consumer implements Drainable {
  readonly name = 'tasks'
  readonly phase = 'tasks'
  readonly #options: ConsumerOptions
  readonly #process: Receiver
  #workers: TaskWorker[] = []
  /**
   * What this process has taken from Redis and not yet answered for: what runs, and what has run and isn't written down
   * yet.
   */
  readonly #held = new Map<StoredJob, Delivery>()
  readonly #idle = new IdleWaiters()
  #closing: Promise<unknown> | undefined
  /** The names whose tasks Redis refuses to give. */
  readonly #refusing = new Set<string>()
  /** Whether the log says that Redis refuses. */
  #isRefused = false
  #calm: NodeJS.Timeout | undefined
  #sweepTimer: NodeJS.Timeout | undefined
  #isSweeping = false
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
      lockDuration: options.lockDuration,
      isClosing: false,
      isGivingUp: false,
      suspects: new Suspects(options.connections.commands),
      permits: options.permits
    }
  }

  get pending (): number { return this.#held.size }
  get timers (): number { return this.#process.runs.timers }

  /**
   * A process that has never reached Redis may have a wrong URL: a rolling update must not replace working processes by
   * it. One that has reached Redis stays ready: an outage of Redis would otherwise take all processes out of service.
   */
  get isReady (): boolean { return this.#options.names.length === 0 || this.#options.connections.wasReady }

  stats (): TasksStats {
    return { ...this.#process.runs.stats(), completed: 0, failed: 0, retried: 0, aborted: 0 }
  }

  start (): void {
    if (this.#closing !== undefined || this.#options.names.length === 0) return
    const { connections, cancelChannel, names, permits } = this.#options
    const client = connections.subscriber()
    client.on('message', (_channel: string, key: string) => this.#cancel(key))
    // What was published while the connection was away is lost, but the mark is stored.
    client.on('ready', () => { for (const { job, worker } of this.#held.values()) void this.#readMark(worker, job) })
    client.subscribe(cancelChannel).catch((err: unknown) =>
      this.#log('debug', { err }, 'tasks: no subscription to cancelled tasks'))
    this.#workers = names.map((name) => this.#createWorker(name))
    if (permits.size > 0) this.#sweepTimer = setInterval(() => { void this.#sweep() }, this.#sweepInterval).unref()
  }

  /** Takes no more tasks from Redis. What runs goes on. */
  close (): void {
    this.#process.isClosing = true
    clearTimeout(this.#calm)
    clearInterval(this.#sweepTimer)
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
    const unfinished = this.#held.size
    await this.#process.runs.giveUp(grace)
    const left = Math.max(endsAt - performance.now(), 0) + Math.min(force, HAND_BACK_TIMEOUT_MS)
    this.#isAnswered = await within(left, this.idle())
    const lost = this.held()
    if (unfinished > lost.length) {
      this.#log('info', { count: unfinished - lost.length },
        'tasks: unfinished stored tasks were put back in line: another process runs them')
    }
    // Redis is frozen, say. Nothing more can be done for them here, and nobody is to wait for them once more.
    this.#held.clear()
    this.#idle.wake()
    return lost
  }

  #createWorker (name: string): TaskWorker {
    const { queueName, worker: options, concurrency, lockDuration, connections } = this.#options
    const [held, consuming] = [this.#held, this.#process]
    const worker = createWorker(consuming.bullmq, queueName(name),
      { ...options, concurrency, lockDuration, connection: connections.patient }, {
        hold: (job, worker, askedAt) => { held.set(job, new Delivery(job, worker, consuming, askedAt)) },
        run: (job) => (held.get(job) as Delivery).run(),
        release: (job) => {
          held.delete(job)
          if (held.size === 0) this.#idle.wake()
        },
        refused: (err) => this.#refused(name, err),
        granted: () => this.#granted(name)
      })
    worker.on('stalled', (jobId) => { void this.#recovered(worker, jobId) })
    worker.on('lockRenewalFailed', (jobIds) => {
      for (const delivery of held.values()) {
        if (delivery.worker === worker &&
        jobIds.includes(delivery.job.id as string)) delivery.lostLock()
      }
    })
    worker.on('error', (err) => {
      const hasLost = isLost(consuming.bullmq, err)
      this.#log(hasLost ? 'warn' : 'debug', { err, task: name }, hasLost
        ? 'tasks: the outcome of a task is not stored, because the task had lost its lock: it runs, or has run, elsewhere. The event loop was blocked, the process was stopped, or Redis was unavailable, for longer than lockDuration'
        : 'tasks: BullMQ')
    })
    return worker
  }

  #refused (name: string, err: Error): void {
    this.#refusing.add(name)
    clearTimeout(this.#calm)
    if (this.#isRefused || this.#process.isClosing) return
    this.#isRefused = true
    this.#log('error', { err, task: name },
      'tasks: Redis gives this process no stored tasks (see err): trying again every 2 s')
  }

  #granted (name: string): void {
    this.#refusing.delete(name)
    if (this.#refusing.size > 0) return
    this.#calm = setTimeout(() => {
      this.#isRefused = false
      this.#log('info', {}, 'tasks: Redis gives this process stored tasks again')
    }, CALM_MS).unref()
  }

  /** The time between two sweeps of a key, by any process, in ms. */
  get #sweepInterval (): number {
    return this.#options.lockDuration / 4
  }

  /** Lets keys go on whose permits a process that has ended did not pass on. */
  async #sweep (): Promise<void> {
    // While Redis is away, the last sweep waits for it.
    if (this.#isSweeping) return
    this.#isSweeping = true
    await Promise.all([...this.#options.permits.values()].map((permits) =>
      permits.sweep(this.#sweepInterval).catch((err: unknown) =>
        this.#log('debug', { err }, 'tasks: the lines of keys could not be swept'))))
    this.#isSweeping = false
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
