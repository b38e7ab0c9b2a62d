/** The options of the tasks plugin. */
import * as check from '../shared/options.ts'
import type { IoRedis } from '../redis.ts'
import type { TaskDefinitions } from './named/define.ts'
import type { EngineFactory } from './named/engine.ts'
import { resolveRunOptions, type TaskRunOptions, type TaskOptions } from './task-options.ts'

export interface TasksOptions extends TaskRunOptions {
  /**
   * How many tasks run at the same time. Tasks wait for sockets, so `concurrency` bounds what they ask of other
   * services, not the CPU. 64 tasks of 200 ms each are 320 a second, well below the descriptors and connections that a
   * process or a peer has.
   * @default 64
   */
  concurrency?: number
  /**
   * How many more tasks may wait, for a slot, a delay or a retry. The next task is refused. At 200 ms each, the default
   * drains in about three seconds, within a shutdown's timeout.
   * @default 1_000
   */
  maxQueue?: number
  /**
   * How long a function may run on after its signal has aborted, in ms. Then it is reported as leaked, and its slot
   * goes to other tasks.
   * @default 1_000
   */
  grace?: number
  /**
   * How long closing waits for accepted tasks and for groups, in ms, when the lifecycle plugin isn't there to say it.
   * Functions that ignore the signal of their group are held for this long, with lifecycle too.
   * @default 10_000
   */
  closeTimeout?: number
  /**
   * The tasks that enqueue() knows, by name: see defineTasks().
   * @default {}
   */
  tasks?: TaskDefinitions
  /**
   * A constructed client of ioredis or iovalkey, `Redis` or `Cluster`. Named tasks are then stored, by BullMQ: they
   * survive their process, and run in any process that consumes them. The plugin duplicates the client for its own
   * connections, and leaves the client itself open. A client with a `keyPrefix` is refused: see `prefix`.
   * @default the `redis` of the suite, otherwise none: tasks are in this process's memory
   */
  redis?: RedisToDuplicate
  /**
   * Text before every key in Redis, without braces. Applications that share a Redis need different prefixes.
   * @default 'fastify-concurrency'
   */
  prefix?: string
  /**
   * How many ms Redis may leave enqueue() without an answer, at least 1. After that time, and at once
   * while Redis is known to be away, enqueue() rejects with FC_ERR_TASK_STORE (503).
   * @default 1_000
   */
  storeTimeout?: number
  /**
   * How many stored tasks of a name may wait, for a process, a delay or a retry, at least 1. The next one is refused
   * with FC_ERR_TASKS_FULL (503). The bound is approximate: a refusal rests on a count of at most half a second ago.
   * @default 100_000
   */
  maxStored?: number
  /**
   * Whether this process runs stored tasks: all of them, none (it only enqueues), or those of these names.
   * @default true
   */
  consume?: boolean | readonly string[]
  /**
   * How many ms a process may be silent before its stored tasks run elsewhere, at least 1_000. They do so at most `2 *
   * lockDuration` after it has ended, or has been frozen. Work that holds the event loop for longer loses its locks,
   * and its tasks run twice.
   * @default 30_000
   */
  lockDuration?: number
  /**
   * How many stored tasks that have ended are kept, for each name: completed ones so that handles can read their
   * results, and failed ones with their errors.
   * @default { completed: 1_000, failed: 10_000 }
   */
  keep?: { completed?: number, failed?: number }
  /**
   * Another engine that keeps and runs named tasks. `redis` is not used then.
   * @default in memory, or with `redis` on BullMQ
   */
  engine?: EngineFactory
  /**
   * Lets tasks and groups detect the current request, through AsyncLocalStorage.
   * @default true
   */
  ambient?: boolean
}

/**
 * RedisToDuplicate is the part of a Redis client that the option's type requires. Engines check the rest at boot: no
 * type of its package is imported, because the package is optional.
 */
export interface RedisToDuplicate {
  /** Returns a new connection with the same options. */
  duplicate (...args: never[]): unknown
}

export interface StoredTasksOptions
  extends Required<Pick<TasksOptions, 'prefix' | 'storeTimeout' | 'maxStored' | 'lockDuration'>> {
  redis: IoRedis
  /** Names of tasks. */
  consume: readonly string[]
  keep: { completed: number, failed: number }
}

export interface ResolvedTasksOptions
  extends Required<Pick<TasksOptions, 'concurrency' | 'maxQueue' | 'grace' | 'closeTimeout' | 'tasks' | 'ambient'>> {
  engine: EngineFactory | undefined
  /** Undefined without `redis`, and if no task has a name. */
  stored: StoredTasksOptions | undefined
  /** For each submit(). */
  defaults: TaskOptions
}

/** @internal Every option, for the test that compares them with the docs. */
export const tasksOptionNames = [
  'concurrency', 'maxQueue', 'timeout', 'retries', 'backoff', 'retryIf', 'grace', 'closeTimeout', 'tasks', 'redis',
  'prefix', 'storeTimeout', 'maxStored', 'consume', 'lockDuration', 'keep', 'engine', 'ambient'
] as const satisfies ReadonlyArray<keyof TasksOptions>

export function resolveOptions (options: TasksOptions): ResolvedTasksOptions {
  check.record('tasks', options, tasksOptionNames)
  return {
    concurrency: check.integer('tasks.concurrency', options.concurrency ?? 64, { min: 1 }),
    maxQueue: check.integer('tasks.maxQueue', options.maxQueue ?? 1_000, { min: 0 }),
    grace: check.duration('tasks.grace', options.grace ?? 1_000, { min: 0, max: check.MAX_DURATION }),
    closeTimeout: check.duration('tasks.closeTimeout', options.closeTimeout ?? 10_000),
    tasks: check.record('tasks.tasks', options.tasks ?? {}) as TaskDefinitions,
    engine: options.engine === undefined ? undefined : check.fn('tasks.engine', options.engine),
    stored: resolveStored(options),
    ambient: check.boolean('tasks.ambient', options.ambient ?? true),
    defaults: resolveRunOptions('tasks', options)
  }
}

function resolveStored ({ redis, tasks = {}, ...options }: TasksOptions): StoredTasksOptions | undefined {
  const names = Object.keys(tasks)
  const isClient = redis === undefined ||
    (typeof redis === 'object' && redis !== null && typeof redis.duplicate === 'function' && 'defineCommand' in redis)
  check.ensure(isClient || names.length === 0, 'tasks.redis', 'a constructed client of ioredis or iovalkey', redis)
  // BullMQ's scripts make keys themselves, which ioredis would not prefix. Left out in silence, applications would
  // share tasks that they believe apart.
  const keyPrefix = isClient && names.length > 0 ? (redis as IoRedis | undefined)?.options?.keyPrefix : undefined
  check.ensure(keyPrefix === undefined || keyPrefix === '', 'tasks.redis',
    'a client without keyPrefix, which BullMQ can\'t use: give its text as tasks.prefix', keyPrefix)
  const prefix = check.text('tasks.prefix', options.prefix ?? 'fastify-concurrency')
  check.ensure(!/[{}]/.test(prefix), 'tasks.prefix', 'a text without braces', prefix)
  check.record('tasks.keep', options.keep ?? {}, ['completed', 'failed'])
  const stored = {
    prefix,
    storeTimeout: check.duration('tasks.storeTimeout', options.storeTimeout ?? 1_000,
      { min: 1, max: check.MAX_DURATION }),
    maxStored: check.integer('tasks.maxStored', options.maxStored ?? 100_000, { min: 1 }),
    consume: resolveConsume(options.consume ?? true, names),
    lockDuration: check.duration('tasks.lockDuration', options.lockDuration ?? 30_000,
      { min: 1_000, max: check.MAX_DURATION }),
    keep: {
      completed: check.integer('tasks.keep.completed', options.keep?.completed ?? 1_000, { min: 0 }),
      failed: check.integer('tasks.keep.failed', options.keep?.failed ?? 10_000, { min: 0 })
    }
  }
  return redis === undefined || names.length === 0 ? undefined : { redis: redis as IoRedis, ...stored }
}

function resolveConsume (consume: boolean | readonly string[], names: readonly string[]): readonly string[] {
  if (typeof consume === 'boolean') return consume ? names : []
  check.ensure(Array.isArray(consume), 'tasks.consume', 'true, false, or an array of names of tasks', consume)
  const unknown = consume.find((name) => !names.includes(name))
  check.ensure(unknown === undefined, 'tasks.consume', `names of tasks that are defined: ${names.join(', ') || 'none'}`,
    unknown)
  return [...new Set(consume)]
}
