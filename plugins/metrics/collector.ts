/**
 * Makes snapshots of the application's counts. The collector knows no plugin: what only another plugin knows, such as what Redis holds, it reads
 * from that plugin's decorator.
 */
import type { FastifyInstance } from 'fastify'
import { countsOf, type Account, type LoopCounts } from '../core/ledger/counts.ts'
import { bucketBounds } from '../core/ledger/durations.ts'
import { ownDecorator } from '../shared/drainables.ts'
import type { EventLoopSnapshot } from './event-loop.ts'
import type { LoopMetrics, MetricsSnapshot, QueueMetrics } from './snapshot.ts'

/** The parts of the decorators that are read. */
interface Decorators {
  lifecycle: { phase: string }
  tasks: { stats (): { running: number, waiting: number }, queues (): Promise<QueueMetrics[]> }
}

/** What Redis has answered. */
export interface Stored {
  /** Empty while Redis is away, and if no tasks are stored. */
  queues: QueueMetrics[]
  isRedisAnswering: boolean
}

export class Collector {
  readonly #app: FastifyInstance
  #queues: QueueMetrics[] = []
  #asking: Promise<Stored> | undefined

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  /** @param asks whether Redis is asked what is stored */
  snapshot (eventLoop: EventLoopSnapshot, asks: boolean): MetricsSnapshot {
    if (asks) void this.queues()
    const { running, waiting } = this.#ours('tasks', 'tasks')?.stats() ?? { running: 0, waiting: 0 }
    const counts = countsOf(this.#app.server)
    const { pools, tasks, limits, locks, loop, requestsRefused, storeFailures, isStoreUp } = counts
    return {
      phase: this.#ours('lifecycle', 'requests')?.phase ?? 'serving',
      requestsRefused,
      eventLoop,
      pools: counts.views().map(({ pool, view }) => ({ pool, ...view.gauges() })),
      jobs: pools.map((pool, { jobs }) => jobs.map((name, job) => ({ pool, name, ...accountOf(job) }))).flat(),
      tasksRunning: running,
      tasksWaiting: waiting,
      tasks: tasks.map((name, task) => {
        const { expired, crashed, failed, ...others } = accountOf(task)
        return { name, ...others, failed: failed + expired + crashed }
      }),
      queues: asks ? this.#queues : [],
      limits: limits.map((policy, { completed, refused, bound, wait }) =>
        ({ policy, granted: completed, refused: refused.limited, bound: bound && { ...bound(), wait: wait.snapshot() } })),
      storeFailures,
      isStoreUp,
      locks: locks.map((kind, { completed, refused, wait }) =>
        ({ kind, acquired: completed, refused: { ...refused }, wait: wait.snapshot() })),
      loop: loop && loopMetrics(loop),
      bucketBounds
    }
  }

  /** Asks Redis what is stored; one question at a time. It never rejects: while Redis is away, nothing is known. */
  queues (): Promise<Stored> {
    this.#asking ??= (this.#ours('tasks', 'tasks')?.queues() ?? Promise.resolve([])).then(
      (queues) => ({ queues, isRedisAnswering: true }), () => ({ queues: [], isRedisAnswering: false })
    ).then((stored) => {
      this.#asking = undefined
      this.#queues = stored.queues
      return stored
    })
    return this.#asking
  }

  #ours<Name extends keyof Decorators> (name: Name, drainable: string): Decorators[Name] | undefined {
    return ownDecorator<Decorators[Name]>(this.#app, name, drainable)
  }
}

/** Returns the counts of an account as they are now. */
function accountOf<A extends Account> ({ refused, wait, run, ...counts }: A) {
  return { ...counts, refused: { ...refused } as A['refused'], wait: wait.snapshot(), run: run.snapshot() }
}

/** The most routes of a snapshot. A service with more of them has a name for each in `app.loop.stats()`. */
const MAX_ROUTES = 200

function loopMetrics ({ passed, held, left, refused, wait, view }: LoopCounts): LoopMetrics {
  return { ...view.gauges(), passed, started: held, left, refused: { ...refused }, wait: wait.snapshot(), routes: view.routes().slice(0, MAX_ROUTES) }
}
