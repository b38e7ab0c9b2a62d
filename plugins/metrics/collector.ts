/**
 * Counts what the other plugins publish on their diagnostics channels. The collector knows no plugin: it reads gauges, such as the number of waiting
 * jobs, from the decorators of the application when somebody asks for a snapshot.
 */
import type { FastifyInstance } from 'fastify'
import { listen, type ChannelMessages } from '../channel-messages.ts'
import { drainablesOf } from '../shared/drainables.ts'
import { jobRefusalReasons, lockRefusalReasons, taskRefusalReasons, zeroOf } from '../shared/errors.ts'
import { bucketBounds, Durations } from './durations.ts'
import type { EventLoopSnapshot } from './event-loop.ts'
import { Series } from './series.ts'
import type { JobMetrics, LimitMetrics, LockMetrics, MetricsSnapshot, PoolMetrics, QueueMetrics, TaskMetrics } from './snapshot.ts'

/** The parts of the decorators that gauges are read from. */
interface Decorators {
  lifecycle: { phase: string }
  tasks: { stats (): { running: number, waiting: number }, queues (): Promise<QueueMetrics[]> }
}
/** The decorator of a pool, or of another plugin whose work a shutdown waits for. */
interface Decorator { stats? (): Partial<Omit<PoolMetrics, 'pool'>> }

class Job {
  readonly #pool: string
  readonly #name: string
  readonly ended = { completed: 0, failed: 0, aborted: 0, expired: 0, crashed: 0 }
  readonly refused: JobMetrics['refused'] = zeroOf(jobRefusalReasons)
  readonly wait = new Durations()
  readonly run = new Durations()

  constructor (pool: string, name: string) {
    this.#pool = pool
    this.#name = name
  }

  snapshot (): JobMetrics {
    return { pool: this.#pool, name: this.#name, ...this.ended, refused: { ...this.refused }, wait: this.wait.snapshot(), run: this.run.snapshot() }
  }
}

class Task {
  readonly #name: string
  readonly ended = { completed: 0, failed: 0, aborted: 0 }
  readonly refused: TaskMetrics['refused'] = zeroOf(taskRefusalReasons)
  duplicate = 0
  retried = 0
  leaked = 0
  readonly wait = new Durations()
  readonly run = new Durations()

  constructor (name: string) {
    this.#name = name
  }

  snapshot (): TaskMetrics {
    const { refused, duplicate, retried, leaked } = this
    return { name: this.#name, ...this.ended, refused: { ...refused }, duplicate, retried, leaked, wait: this.wait.snapshot(), run: this.run.snapshot() }
  }
}

export class Collector {
  readonly #app: FastifyInstance
  readonly #pools = new Series((pool) => ({ pool, jobs: new Series((name) => new Job(pool, name)) }))
  readonly #tasks = new Series((name) => new Task(name))
  readonly #limits = new Series((policy): LimitMetrics => ({ policy, granted: 0, refused: 0 }))
  readonly #locks = new Series((kind) => ({ kind, acquired: 0, refused: zeroOf(lockRefusalReasons), wait: new Durations() }))
  readonly #unsubscribes: Array<() => void> = []
  #queues: QueueMetrics[] = []
  #asking: Promise<QueueMetrics[]> | undefined
  #requestsRefused = 0
  #storeFailures = 0

  constructor (app: FastifyInstance) {
    this.#app = app
    // A counter that is first seen with its first event has no increase, for which Prometheus could alert. So what is defined counts from 0.
    this.#listen('fastify-concurrency:workers:defined', ({ pool, names }) => { for (const name of names) this.#job(pool, name) })
    this.#listen('fastify-concurrency:tasks:defined', ({ names }) => { for (const name of names) this.#tasks.of(name) })
    this.#listen('fastify-concurrency:limiter:defined', ({ names }) => { for (const name of names) this.#limits.of(name) })
    for (const end of ['completed', 'failed'] as const) {
      this.#listen(`fastify-concurrency:workers:${end}`, ({ pool, name, waitMs, durationMs }) => {
        const job = this.#job(pool, name)
        job.ended[end]++
        job.wait.record(waitMs)
        job.run.record(durationMs)
      })
    }
    this.#listen('fastify-concurrency:workers:aborted', ({ pool, name }) => { this.#job(pool, name).ended.aborted++ })
    this.#listen('fastify-concurrency:workers:expired', ({ pool, name }) => { this.#job(pool, name).ended.expired++ })
    this.#listen('fastify-concurrency:workers:crashed', ({ pool, name }) => { this.#job(pool, name).ended.crashed++ })
    this.#listen('fastify-concurrency:workers:refused', ({ pool, name, reason }) => { this.#job(pool, name).refused[reason]++ })
    for (const end of ['failed', 'aborted'] as const) {
      this.#listen(`fastify-concurrency:tasks:${end}`, ({ name }) => { this.#tasks.of(name).ended[end]++ })
    }
    this.#listen('fastify-concurrency:tasks:completed', ({ name, durationMs }) => {
      this.#tasks.of(name).ended.completed++
      this.#tasks.of(name).run.record(durationMs)
    })
    this.#listen('fastify-concurrency:tasks:started', ({ name, attempt, waitMs }) => { if (attempt === 1) this.#tasks.of(name).wait.record(waitMs) })
    this.#listen('fastify-concurrency:tasks:refused', ({ name, reason }) => { this.#tasks.of(name).refused[reason]++ })
    for (const what of ['retried', 'duplicate', 'leaked'] as const) {
      this.#listen(`fastify-concurrency:tasks:${what}`, ({ name }) => { this.#tasks.of(name)[what]++ })
    }
    // Keys of locks may be clients' data, so locks are counted by kind only.
    this.#listen('fastify-concurrency:locks:acquired', ({ name, waitMs }) => {
      this.#locks.of(name).acquired++
      this.#locks.of(name).wait.record(waitMs)
    })
    this.#listen('fastify-concurrency:locks:refused', ({ name, reason }) => { this.#locks.of(name).refused[reason]++ })
    this.#listen('fastify-concurrency:limiter:granted', ({ policy }) => { this.#limits.of(policy).granted++ })
    this.#listen('fastify-concurrency:limiter:refused', ({ policy }) => { this.#limits.of(policy).refused++ })
    this.#listen('fastify-concurrency:limiter:store-failed', () => { this.#storeFailures++ })
    this.#listen('fastify-concurrency:lifecycle:refused', () => { this.#requestsRefused++ })
  }

  snapshot (eventLoop: EventLoopSnapshot): MetricsSnapshot {
    void this.queues()
    const { running, waiting } = this.#ours('tasks', 'tasks')?.stats() ?? { running: 0, waiting: 0 }
    return {
      phase: this.#ours('lifecycle', 'requests')?.phase ?? 'serving',
      requestsRefused: this.#requestsRefused,
      eventLoop,
      pools: this.#gauges(),
      jobs: this.#pools.values().flatMap(({ jobs }) => jobs.values()).map((job) => job.snapshot()),
      tasksRunning: running,
      tasksWaiting: waiting,
      tasks: this.#tasks.values().map((task) => task.snapshot()),
      queues: this.#queues,
      limits: this.#limits.values().map((limit) => ({ ...limit })),
      storeFailures: this.#storeFailures,
      locks: this.#locks.values().map(({ wait, refused, ...lock }): LockMetrics => ({ ...lock, refused: { ...refused }, wait: wait.snapshot() })),
      bucketBounds
    }
  }

  /** Asks Redis what is stored; one question at a time. It never rejects: while Redis is away, nothing is known. */
  queues (): Promise<QueueMetrics[]> {
    this.#asking ??= (this.#ours('tasks', 'tasks')?.queues() ?? Promise.resolve([])).catch(() => []).then((queues) => {
      this.#asking = undefined
      this.#queues = queues
      return queues
    })
    return this.#asking
  }

  close (): void {
    for (const unsubscribe of this.#unsubscribes.splice(0)) unsubscribe()
  }

  #job (pool: string, name: string): Job {
    return this.#pools.of(pool).jobs.of(name)
  }

  /**
   * Returns a decorator of the suite, which is known by its drainable: an application without that plugin may have a decorator of its own under the name.
   */
  #ours<Name extends keyof Decorators> (name: Name, drainable: string): Decorators[Name] | undefined {
    return [...drainablesOf(this.#app)].some((each) => each.name === drainable) ? this.#decorator<Decorators[Name]>(name) : undefined
  }

  /** Returns undefined if only an encapsulated context has the decorator. The suite's own in its place throws when it is read. */
  #decorator<T> (name: string): T | undefined {
    try {
      return this.#app.getDecorator<T>(name)
    } catch {
      return undefined
    }
  }

  /** Finds pools through the list of drainables, because a pool that runs its first job has published nothing yet. */
  #gauges (): PoolMetrics[] {
    return [...drainablesOf(this.#app)].flatMap(({ name: pool, phase }) => {
      // Other drainables have names that an application may give to decorators of its own.
      if (phase !== 'workers') return []
      const { maxThreads, threads = 0, running = 0, waiting = 0 } = this.#decorator<Decorator>(pool)?.stats?.() ?? {}
      return maxThreads === undefined ? [] : [{ pool, maxThreads, threads, running, waiting }]
    })
  }

  #listen<Name extends keyof ChannelMessages> (name: Name, count: (message: ChannelMessages[Name]) => void): void {
    this.#unsubscribes.push(listen(this.#app.server, name, count))
  }
}
