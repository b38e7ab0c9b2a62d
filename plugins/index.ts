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
import type { DashboardOptions } from './dashboard/index.ts'
import lifecycle, { type LifecycleOptions } from './lifecycle/index.ts'
import type { LimiterOptions } from './limiter/index.ts'
import type { LoopOptions } from './loop/index.ts'
import locks, { type LocksOptions } from './locks/index.ts'
import type { MetricsOptions } from './metrics/index.ts'
import type { OperateOptions } from './operate/index.ts'
import { logSafely } from './shared/log.ts'
import { PartMissingError } from './shared/errors.ts'
import * as check from './shared/options.ts'
import type { RedisClient } from './limiter/index.ts'
import { checkRedisUrl, openRedis } from './redis.ts'
import tasks, { type RedisToDuplicate, type TasksOptions } from './tasks/index.ts'
import type { TracingOptions } from './tracing/index.ts'
import { refuseInThread } from './shared/thread-guard.ts'
import type { WorkersOptions } from './workers/index.ts'

export type { CancellationOptions } from './cancellation/index.ts'
export type { ChannelMessages } from './channel-messages.ts'
export {
  ClientGoneError, ClosingError, DashboardForbiddenError, DashboardProcessError, GroupEndedError, JobAbortedError, JobCrashedError, JobThrewError, JobTimeoutError, JobUnknownError, JobsInvalidError,
  LimitBusyError, LimitInvalidError, LimitKeyMissingError, LimitUnknownError, LimitWaitAbortedError, LimitWaitersFullError, LimitedError, LimiterStoreError,
  LockAbortedError, LockQueueFullError, LockTimeoutError, LoopOverloadedError, OptionInvalidError, PartMissingError, PayloadNotCloneableError, PlaceUsedError,
  RequestEndedError, ResultNotCloneableError, TaskAbortedError, TaskCrashedError, TaskDuplicateError, TaskPayloadError, TaskStoreError,
  TaskNotFailedError, TaskNotFoundError, TaskThrewError, TaskTimeoutError, TaskUnknownError, TasksFullError, TasksNotStoredError, WorkersOverloadedError, WorkersUnavailableError
} from './shared/errors.ts'
export type { DashboardOptions } from './dashboard/index.ts'
export type { Operate, OperateOptions } from './operate/index.ts'
export type { Refusal, RefusalReason, TasksFull } from './shared/errors.ts'
export type { Unfinished, Lifecycle, LifecycleOptions, Phase, ShutdownReport } from './lifecycle/index.ts'
export type { Limiter, LimiterOptions, Policies, Policy } from './limiter/index.ts'
export type { Loop, LoopOptions, LoopStats, RouteCost } from './loop/index.ts'
export type { AcquireOptions, Lock, Locks, LocksOptions, LocksStats, Mutex, RwLock, Semaphore } from './locks/index.ts'
export type { Metrics, MetricsOptions, MetricsSnapshot } from './metrics/index.ts'
export { definePolicies } from './define-policies.ts'
export type { Register } from './register.ts'
export type { Group, TaskContext, TaskHandle, Tasks, TasksOptions, TasksStats } from './tasks/index.ts'
export type { TracingOptions } from './tracing/index.ts'
export type { JobName, JobPayload, JobResult, JobStats, Percentiles, PoolStats, RunOptions, RunningJob, Workers, WorkersOptions } from './workers/index.ts'

/** The options of the parts. A part whose option is `false`, or that has nothing to do, is left out. */
export interface ConcurrencyOptions<J extends Jobs = Jobs> {
  /**
   * Lets the parts know the current request through AsyncLocalStorage.
   * @default true
   */
  ambient?: boolean
  /**
   * Redis or Valkey, so that processes share their limits and their named tasks: a URL (`redis://…`, or `rediss://…` for TLS), or a constructed
   * client of ioredis. Named tasks are then stored there, by BullMQ, and survive their process: `npm install bullmq ioredis`. The suite
   * closes what it has opened itself; a client that you pass **stays yours to close**. `limiter.redis` and `tasks.redis` override it.
   * @default none: limits and tasks are in this process's memory
   */
  redis?: string | RedisClient
  /** The pool of worker threads, if it is told which `jobs` it runs. */
  workers?: WorkersOptions<J> | false
  /** Token buckets, if it is told which `policies` there are. */
  limiter?: LimiterOptions | false
  /**
   * The admission of the event loop. It is off by default, since it may refuse requests that your service would answer late.
   * @default false
   */
  loop?: LoopOptions | false
  /** Shutdown in phases, readiness and liveness. */
  lifecycle?: LifecycleOptions | false
  /** Background tasks and groups. */
  tasks?: TasksOptions | false
  /** Locks by key. */
  locks?: LocksOptions | false
  /**
   * Counts of what the other parts do, as a snapshot and for Prometheus.
   * @default false
   */
  metrics?: MetricsOptions | false
  /**
   * Spans of OpenTelemetry for jobs and tasks. It needs the package `@opentelemetry/api`.
   * @default false
   */
  tracing?: TracingOptions | false
  /**
   * A live page about the service, for its operators; `true` is `{}`. It turns the metrics on.
   * @default false
   */
  dashboard?: DashboardOptions | boolean
  /**
   * A port of its own that answers `/live`, `/ready` and `/metrics`: for a worker process, which doesn't listen, and for
   * a service whose metrics are not for its clients. It turns the metrics on, for which it needs the package
   * prom-client; with `metrics: false` it answers the probes alone.
   * @default false
   */
  operate?: OperateOptions | false
}

/** Every option, for the test that compares them with the docs. @internal */
const concurrencyOptionNames = ['ambient', 'redis', 'workers', 'limiter', 'loop', 'lifecycle', 'tasks', 'locks', 'metrics', 'tracing', 'dashboard', 'operate'] as const satisfies ReadonlyArray<keyof ConcurrencyOptions>

const kSuite = Symbol('fastify-concurrency.suite')

async function concurrency (app: FastifyInstance, options: ConcurrencyOptions): Promise<void> {
  refuseInThread()
  check.ensure(!app.hasDecorator(kSuite), 'concurrency', 'the suite to be registered once', 'a second registration')
  app.decorate(kSuite, true)
  check.record('concurrency', options, concurrencyOptionNames)
  const ambient = check.boolean('concurrency.ambient', options.ambient ?? true)
  const lifecycleOptions = optionsOf('lifecycle', options.lifecycle ?? {})
  const limiterOptions = withAmbient(ambient, optionsOf('limiter', options.limiter ?? false))
  const loopOptions = optionsOf('loop', options.loop ?? false)
  const workersOptions = withAmbient(ambient, optionsOf('workers', options.workers ?? false))
  const tasksOptions = withAmbient(ambient, optionsOf('tasks', options.tasks ?? {}))
  const locksOptions = withAmbient(ambient, optionsOf('locks', options.locks ?? {}))
  const dashboardOptions = optionsOf('dashboard', options.dashboard === true ? {} : options.dashboard ?? false)
  check.ensure(dashboardOptions === undefined || options.metrics !== false, 'concurrency.metrics', 'to be left out, or the options of the metrics, which the dashboard shows', false)
  const operateOptions = optionsOf('operate', options.operate ?? false)
  check.ensure(operateOptions === undefined || lifecycleOptions !== undefined, 'concurrency.lifecycle', 'to be left out, or the options of the lifecycle, which answers the probes of operate', false)
  const metricsOptions = optionsOf('metrics', options.metrics ?? (dashboardOptions === undefined && operateOptions === undefined ? false : {}))
  const tracingOptions = optionsOf('tracing', options.tracing ?? false)
  const redis = await redisOf(app, options.redis, usesRedis(limiterOptions, tasksOptions))
  // lifecycle, tasks and locks are imported with this module, since nearly every application has them: an import() in the boot takes longer than a
  // short pluginTimeout allows, and captures the fake timers of a test that has installed some.
  if (limiterOptions !== undefined) await warnOfEarlierRoutes(app)
  // Tracing comes first and is closed last, after the spans of work that the other parts finish while they close.
  if (tracingOptions !== undefined) {
    const { default: tracing } = await import('./tracing/index.ts')
    await app.register(tracing, tracingOptions)
  }
  // The port for operators comes before the parts that answer on it, and is closed after them.
  if (operateOptions !== undefined) {
    const { default: operate } = await import('./operate/index.ts')
    await app.register(operate, operateOptions)
  }
  if (lifecycleOptions !== undefined) await app.register(lifecycle, lifecycleOptions)
  // The limiter comes before the plugins whose routes it must know, and before the work that it refuses.
  if (limiterOptions !== undefined) {
    const { default: limiter } = await import('./limiter/index.ts')
    await app.register(limiter, { ...redis && { redis }, ...limiterOptions })
  }
  // What the loop holds has been counted by lifecycle, so a shutdown serves it. A refusal of the limiter is cheap, and isn't held.
  if (loopOptions !== undefined) {
    const { default: loop } = await import('./loop/index.ts')
    await app.register(loop, loopOptions)
  }
  if (workersOptions !== undefined) {
    const { default: workers } = await import('./workers/index.ts')
    await app.register(workers, workersOptions)
  }
  // Of a client that can't be duplicated, tasks say so themselves, if they need it.
  if (tasksOptions !== undefined) await app.register(tasks, { ...redis && { redis: redis as unknown as RedisToDuplicate }, ...tasksOptions })
  if (locksOptions !== undefined) await app.register(locks, locksOptions)
  if (metricsOptions !== undefined) {
    const { default: metrics } = await import('./metrics/index.ts')
    await app.register(metrics, metricsOptions)
  }
  if (dashboardOptions !== undefined) {
    const { default: dashboard } = await import('./dashboard/index.ts')
    await app.register(dashboard, dashboardOptions)
  }
  app.addHook('onReady', async () => { for (const part of optional) explainMissing(app, part) })
}

/** Tells whether the limiter or the named tasks use the suite's `redis`, and have no client or engine of their own. */
function usesRedis (limiter: LimiterOptions | undefined, tasks: TasksOptions | undefined): boolean {
  const areTasksStored = tasks?.redis === undefined && tasks?.engine === undefined && Object.keys(tasks?.tasks ?? {}).length > 0
  return areTasksStored || (limiter !== undefined && limiter.redis === undefined)
}

async function redisOf (app: FastifyInstance, redis: ConcurrencyOptions['redis'], isUsed: boolean): Promise<RedisClient | undefined> {
  if (typeof redis !== 'string') return redis
  checkRedisUrl('concurrency.redis', redis)
  return isUsed ? await openRedis(app, 'concurrency.redis', redis) as unknown as RedisClient : undefined
}

/** The parts that are off unless they are told what they do, and how they are told. */
const optional = [['workers', '{ workers: { jobs } }'], ['limiter', '{ limiter: { policies } }']] as const

/**
 * Makes the use of a part that is off an error that says how to register the part, in place of "Cannot read properties of undefined". Called when
 * everything is loaded, since another plugin may bring a decorator of the same name.
 */
function explainMissing (app: FastifyInstance, [part, options]: typeof optional[number]): void {
  if (app.hasDecorator(part)) return
  Object.defineProperty(app, part, { configurable: true, get () { throw new PartMissingError(part, options) } })
}

/**
 * Names the routes that were added before the suite was loaded: the usual cause is a call of register() that isn't awaited. All parts serve
 * such routes, but their config passes no onRoute hook.
 */
async function warnOfEarlierRoutes (app: FastifyInstance): Promise<void> {
  const { printedRoutes } = await import('./limiter/boot-checks.ts')
  const routes = printedRoutes(app).map(({ name }) => name)
  if (routes.length === 0) return
  logSafely(app.log, 'warn', { routes },
    `concurrency: ${routes.length} routes were added before the suite was loaded. The limiter reads their config.limiter and config.rateLimit with their ` +
    'first request: a mistake there, or a policy of the preHandler stage, fails that request instead of the boot. ' +
    'Fix: await app.register(concurrency, …) before you add routes')
}

/** Returns the options of a part, or undefined if the part is left out. */
function optionsOf<Options extends object> (part: string, options: Options | false): Options | undefined {
  check.ensure(typeof options !== 'boolean' || options === false, `concurrency.${part}`, 'an object of options, such as {}, or false', options)
  return options === false ? undefined : check.record(`concurrency.${part}`, options) as Options
}

/** Completes the options of a part with the suite's option `ambient`. */
function withAmbient<Options extends { ambient?: boolean }> (ambient: boolean, options: Options | undefined): Options | undefined {
  return options && { ...options, ambient: options.ambient ?? ambient }
}

/** The Fastify plugin that registers the whole suite. Parts that their options leave out are not loaded. */
export default fp(concurrency, { name: 'fastify-concurrency', fastify: '5.x' })
