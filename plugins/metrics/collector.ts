/**
 * Counts what the other plugins publish on their diagnostics channels. The collector knows no plugin: it reads gauges, such as the number of waiting
 * jobs, from the decorators of the application when somebody asks for a snapshot.
 */
import type { FastifyInstance } from 'fastify'
import { listen, type ChannelMessages } from '../channel-messages.ts'
import { drainablesOf } from '../shared/drainables.ts'
import { countsOf, type Account } from '../core/ledger/counts.ts'
import { bucketBounds, Durations } from '../core/ledger/durations.ts'
import { lockRefusalReasons, taskRefusalReasons, zeroOf, type RefusalReason } from '../shared/errors.ts'
import type { EventLoopSnapshot } from './event-loop.ts'
import { Series } from './series.ts'
import type { JobMetrics, LimitMetrics, LockMetrics, MetricsSnapshot, QueueMetrics, TaskMetrics } from './snapshot.ts'

/** The parts of the decorators that gauges are read from. */
interface Decorators {
  lifecycle: { phase: string }
  tasks: { stats (): { running: number, waiting: number }, queues (): Promise<QueueMetrics[]> }
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
    this.#listen('fastify-concurrency:tasks:defined', ({ names }) => { for (const name of names) this.#tasks.of(name) })
    this.#listen('fastify-concurrency:limiter:defined', ({ names }) => { for (const name of names) this.#limits.of(name) })
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
    const { pools } = countsOf(this.#app.server)
    return {
      phase: this.#ours('lifecycle', 'requests')?.phase ?? 'serving',
      requestsRefused: this.#requestsRefused,
      eventLoop,
      pools: pools.map((pool, { views }) => [...views].map((view) => ({ pool, ...view.gauges() }))).flat(),
      jobs: pools.map((pool, { jobs }) => jobs.map((name, account) => jobMetrics(pool, name, account))).flat(),
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

  #listen<Name extends keyof ChannelMessages> (name: Name, count: (message: ChannelMessages[Name]) => void): void {
    this.#unsubscribes.push(listen(this.#app.server, name, count))
  }
}

function jobMetrics (pool: string, name: string, { completed, failed, aborted, expired, crashed, refused, wait, run }: Account<RefusalReason>): JobMetrics {
  return { pool, name, completed, failed, aborted, expired, crashed, refused: { ...refused }, wait: wait.snapshot(), run: run.snapshot() }
}
