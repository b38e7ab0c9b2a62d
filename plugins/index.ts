/**
 * The suite in one register call. Each plugin also registers alone, from its own subpath.
 *
 * @example
 * import concurrency from 'fastify-concurrency'
 * await app.register(concurrency, { workers: { jobs } })
 */
import fp from 'fastify-plugin'
import type { FastifyInstance } from 'fastify'
import type { Jobs } from '../workers/jobs.ts'
import type { LifecycleOptions } from './lifecycle/index.ts'
import * as check from './options.ts'
import type { TasksOptions } from './tasks/index.ts'
import { refuseInThread } from './thread-guard.ts'
import type { WorkersOptions } from './workers/index.ts'

export type { CancellationOptions } from './cancellation/index.ts'
export type { RefusalReason } from './errors.ts'
export type { Abandoned, Lifecycle, LifecycleOptions, Phase, ShutdownReport } from './lifecycle/index.ts'
export type { Register } from './register.ts'
export type { Group, TaskContext, TaskHandle, Tasks, TasksOptions, TasksStats } from './tasks/index.ts'
export type { JobName, JobPayload, JobResult, JobStats, Percentiles, PoolStats, RunOptions, Workers, WorkersOptions } from './workers/index.ts'

/** The options of the parts; `false` leaves a part out, and loads nothing of it. */
export interface ConcurrencyOptions<J extends Jobs = Jobs> {
  /**
   * Lets the parts know the current request through AsyncLocalStorage.
   * @default true
   */
  ambient?: boolean
  /** The pool of worker threads; it needs to be told which `jobs` it runs. */
  workers: WorkersOptions<J> | false
  /** Shutdown in phases, readiness and liveness. */
  lifecycle?: LifecycleOptions | false
  /** Background tasks and groups. */
  tasks?: TasksOptions | false
}

async function concurrency (app: FastifyInstance, options: ConcurrencyOptions): Promise<void> {
  refuseInThread()
  check.record('concurrency', options, ['ambient', 'workers', 'lifecycle', 'tasks'])
  const ambient = check.boolean('concurrency.ambient', options.ambient ?? true)
  if (options.lifecycle !== false) {
    const { default: lifecycle } = await import('./lifecycle/index.ts')
    await app.register(lifecycle, options.lifecycle ?? {})
  }
  if (options.workers !== false) {
    const { default: workers } = await import('./workers/index.ts')
    await app.register(workers, { ambient, ...options.workers })
  }
  if (options.tasks !== false) {
    const { default: tasks } = await import('./tasks/index.ts')
    await app.register(tasks, { ambient, ...options.tasks })
  }
}

export default fp(concurrency, { name: 'fastify-concurrency', fastify: '5.x' })
