/** The shape of a metrics snapshot. Counts are totals since the start of the application; durations are in ms. */
import type { LockRefusalReason, RefusalReason, TaskRefusalReason } from '../shared/errors.ts'
import type { RouteCost } from '../core/ledger/counts.ts'
import type { LoopStats } from '../loop/index.ts'
import type { QueueStats } from '../tasks/index.ts'
import type { DurationsSnapshot } from '../core/ledger/durations.ts'
import type { EventLoopSnapshot } from './event-loop.ts'

/** A worker pool, now. */
export interface PoolMetrics {
  /** The decorator of the pool. */
  pool: string
  /** Threads that the pool may hold. */
  maxThreads: number
  /** Threads that exist now. There are fewer than maxThreads while threads start, or are replaced. */
  threads: number
  /** Jobs that threads run now. */
  running: number
  /** Jobs in the queue. */
  waiting: number
}

/** The jobs of one name in a pool. */
export interface JobMetrics {
  /** The decorator of the pool. */
  pool: string
  /** The jobs' name. */
  name: string
  /** Jobs that resolved. */
  completed: number
  /** Jobs that rejected with an error of their own. */
  failed: number
  /** Jobs whose client left, or whose signal aborted. */
  aborted: number
  /** Jobs whose deadline has passed. */
  expired: number
  /** Jobs that were lost with their thread. */
  crashed: number
  /** Refused jobs, by reason. */
  refused: Record<RefusalReason, number>
  /** The time in the queue, of jobs that completed or failed. */
  wait: DurationsSnapshot
  /** The time on a thread, of jobs that completed or failed. */
  run: DurationsSnapshot
}

/** The tasks of one name. */
export interface TaskMetrics {
  /** The part of the task's id before the first colon. */
  name: string
  /** Tasks that this process has accepted, whichever process runs them. */
  accepted: number
  /** Tasks that resolved. */
  completed: number
  /** Tasks whose last attempt failed. */
  failed: number
  /** Tasks that were cancelled, or given up by a shutdown. */
  aborted: number
  /** Tasks that were not accepted, by reason. */
  refused: Record<TaskRefusalReason, number>
  /** Tasks that were not accepted, because a task with the same id waited or ran. */
  duplicate: number
  /** Attempts that failed and were followed by another. */
  retried: number
  /** Tasks whose function ignored its signal. */
  leaked: number
  /** The time from submission to the first attempt. */
  wait: DurationsSnapshot
  /** The time of the last attempt, of tasks that completed. */
  run: DurationsSnapshot
}

/** A policy of the limiter. */
export interface LimitMetrics {
  /** The policy's name. */
  policy: string
  /** Requests and calls that the policy granted. */
  granted: number
  /** Requests and calls that the policy refused. */
  refused: number
  /** Of a policy with `concurrency`; undefined for one that limits a rate. */
  bound: BoundMetrics | undefined
}

/** The bound of a policy with `concurrency`, over all keys. */
export interface BoundMetrics {
  /** Requests and calls that hold a permit now. */
  running: number
  /** Requests and calls that wait for a permit now. */
  waiting: number
  /** The time that those which were granted had waited. */
  wait: DurationsSnapshot
}

/** What is stored of the tasks of a name, counted over all processes. */
export type QueueMetrics = QueueStats

/** The locks of one kind. */
export interface LockMetrics {
  /** `mutex`, `rwlock`, `semaphore` or `once`. */
  kind: string
  /** How often a lock was acquired. */
  acquired: number
  /** Callers that were refused or waited too long, by reason. */
  refused: Record<LockRefusalReason, number>
  /** The time that callers waited before they acquired a lock. */
  wait: DurationsSnapshot
}

/** The admission of the event loop. */
export interface LoopMetrics extends LoopStats {
  /** The time for which the started ones were held. */
  wait: DurationsSnapshot
  /** The costs of routes, the most expensive one first; at most 200. */
  routes: RouteCost[]
}

/** The counts of an application: what `metrics.snapshot()` returns. */
export interface MetricsSnapshot {
  /** The phase of the application: `serving` until a shutdown begins. */
  phase: string
  /** Requests that were refused because the application is shutting down. */
  requestsRefused: number
  /** Since the last snapshot. */
  eventLoop: EventLoopSnapshot
  /** The pools of the application. */
  pools: PoolMetrics[]
  /** The jobs, by pool and name. */
  jobs: JobMetrics[]
  /** Tasks whose function runs now. */
  tasksRunning: number
  /** Tasks that wait for a slot, a delay or a retry. */
  tasksWaiting: number
  /** The tasks, by name. */
  tasks: TaskMetrics[]
  /** The stored tasks of all processes, by name, when Redis was last asked: each snapshot asks it for the next one. Empty if tasks are in memory. */
  queues: QueueMetrics[]
  /** The policies of the limiter. */
  limits: LimitMetrics[]
  /** How often the limiter's store has begun to fail. */
  storeFailures: number
  /** Whether the limiter's store answered the latest decision that has asked it. */
  isStoreUp: boolean
  /** The locks, by kind. */
  locks: LockMetrics[]
  /** The admission of the event loop; undefined without it. */
  loop: LoopMetrics | undefined
  /** The upper bounds of the buckets of all durations, in ms. */
  bucketBounds: readonly number[]
}
