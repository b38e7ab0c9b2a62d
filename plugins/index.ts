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
import type { LimiterOptions } from './limiter/index.ts'
import * as check from './options.ts'
import type { TasksOptions } from './tasks/index.ts'
import { refuseInThread } from './thread-guard.ts'
import type { WorkersOptions } from './workers/index.ts'

export type { CancellationOptions } from './cancellation/index.ts'
export type { RefusalReason } from './errors.ts'
export type { Abandoned, Lifecycle, LifecycleOptions, Phase, ShutdownReport } from './lifecycle/index.ts'
export type { Limiter, LimiterOptions, Policies, Policy } from './limiter/index.ts'
export { definePolicies } from './define-policies.ts'
export type { Register } from './register.ts'
export type { Group, TaskContext, TaskHandle, Tasks, TasksOptions, TasksStats } from './tasks/index.ts'
export type { JobName, JobPayload, JobResult, JobStats, Percentiles, PoolStats, RunOptions, Workers, WorkersOptions } from './workers/index.ts'

/** The options of the parts. One that is `false`, or has nothing to do, is left out, and nothing of it is loaded. */
export interface ConcurrencyOptions<J extends Jobs = Jobs> {
  /**
   * Lets the parts know the current request through AsyncLocalStorage.
   * @default true
   */
  ambient?: boolean
  /** The pool of worker threads, if it is told which `jobs` it runs. */
  workers?: WorkersOptions<J> | false
  /** Token buckets, if it is told which `policies` there are. */
  limiter?: LimiterOptions | false
  /** Shutdown in phases, readiness and liveness. */
  lifecycle?: LifecycleOptions | false
  /** Background tasks and groups. */
  tasks?: TasksOptions | false
}

/** Every option, for the test that compares them with the README. @internal */
const concurrencyOptionNames = ['ambient', 'workers', 'limiter', 'lifecycle', 'tasks'] as const satisfies ReadonlyArray<keyof ConcurrencyOptions>

async function concurrency (app: FastifyInstance, options: ConcurrencyOptions): Promise<void> {
  refuseInThread()
  check.record('concurrency', options, concurrencyOptionNames)
  const ambient = check.boolean('concurrency.ambient', options.ambient ?? true)
  if (options.lifecycle !== false) {
    const { default: lifecycle } = await import('./lifecycle/index.ts')
    await app.register(lifecycle, options.lifecycle ?? {})
  }
  // Before whoever adds routes, which it must know of, and before the work that it refuses.
  if (options.limiter !== undefined && options.limiter !== false) {
    const { default: limiter } = await import('./limiter/index.ts')
    await app.register(limiter, { ambient, ...options.limiter })
  }
  if (options.workers !== undefined && options.workers !== false) {
    const { default: workers } = await import('./workers/index.ts')
    await app.register(workers, { ambient, ...options.workers })
  }
  if (options.tasks !== false) {
    const { default: tasks } = await import('./tasks/index.ts')
    await app.register(tasks, { ambient, ...options.tasks })
  }
}

export default fp(concurrency, { name: 'fastify-concurrency', fastify: '5.x' })
