/** The options of the plugin, and those of one call of `run()`. */
import type { FastifyRequest } from 'fastify'
import type { ResourceLimits } from 'node:worker_threads'
import type { Jobs, Priority, Transferable } from '../../workers/jobs.ts'
import * as check from '../shared/options.ts'
import { availableCpus } from './cpus.ts'
import { validateJobs } from './registry.ts'
import { priorities } from '../core/line/entry.ts'

/** Durations are in ms. */
export interface WorkersOptions<J extends Jobs = Jobs> {
  /** What the threads run: the result of `defineJobs()`. */
  jobs: J
  /**
   * The decorator's name: a further pool needs another one, typed by `app.getDecorator<Workers<typeof jobs>>(name)`.
   * @default 'workers'
   */
  decorator?: string
  /**
   * The number of threads, 1 to 1024. More threads than CPUs only make every job slower, the event loop first.
   * @default the CPUs that this process may use, its container's quota included
   */
  maxThreads?: number
  /**
   * The number of jobs that may wait: a bound on memory. `maxWait` bounds the time.
   * @default 1000
   */
  maxQueue?: number
  /**
   * The time that a job may wait. A job that would wait longer, or has waited longer, is refused, so this also bounds
   * the work that waits. `Infinity` for no bound.
   * @default 10000
   */
  maxWait?: number
  /**
   * The longest wait limit of an overload. The limit is learned, between `targetWait` and `orderWait`. Without an
   * overload, only `maxWait` counts. An overload is work for a quarter of `orderWait`, on all threads, that waited and
   * was then left or refused.
   * @default 1000
   */
  orderWait?: number
  /**
   * The wait that a sustained overload settles at, or more if the threads would idle otherwise. Jobs past it are
   * refused, so that the others are fast.
   * @default 100
   */
  targetWait?: number
  /**
   * The deadline over queue and run, from the call, of a job that has none of its own. `Infinity` for none.
   * @default 30000
   */
  timeout?: number
  /**
   * The grace period: the time that an aborted job may go on before its thread is ended. `Infinity` to never end it.
   * @default 1000
   */
  grace?: number
  /**
   * The time that closing the app waits for accepted jobs. With the lifecycle plugin its `timeout` counts instead.
   * @default 10000
   */
  closeTimeout?: number
  /**
   * Limits of each thread's V8 heap and stack, as of `worker_threads`. A job past them is a crash of its thread, unless
   * one array grows past them: V8 then ends the process.
   * @default Node's, with `maxYoungGenerationSizeMb: 48`
   */
  resourceLimits?: ResourceLimits
  /** Node options of the threads, such as `['--import', loader]`. @default those of the process */
  execArgv?: readonly string[]
  /** The threads' `process.env`. @default a copy of the process's */
  env?: Readonly<Record<string, string | undefined>>
  /**
   * Aborts a job when the client of the current request leaves. You don't have to pass the request.
   * @default true
   */
  ambient?: boolean
}

/** @internal The defaults of the options that admission decides by. */
export const admissionDefaults = { maxQueue: 1_000, maxWait: 10_000, orderWait: 1_000, targetWait: 100 } as const

/** Options of Node itself, which has the defaults. */
type NodeOption = 'execArgv' | 'env'

export type ResolvedOptions = Readonly<Required<Omit<WorkersOptions, NodeOption>> & Pick<WorkersOptions, NodeOption>>

const RESOURCE_LIMITS = ['maxOldGenerationSizeMb', 'maxYoungGenerationSizeMb', 'codeRangeSizeMb', 'stackSizeMb']

/** @internal Every option, for the test that compares them with the docs. */
export const workersOptionNames = ['jobs', 'decorator', 'maxThreads', 'maxQueue', 'maxWait', 'orderWait', 'targetWait',
  'timeout', 'grace', 'closeTimeout', 'resourceLimits', 'execArgv', 'env',
  'ambient'] as const satisfies ReadonlyArray<keyof WorkersOptions>

/** What replaces the options of piscina and of other pools. */
const insteadOfPoolOptions = new Map([
  ['minThreads', 'nothing: all threads (maxThreads) start at boot, and an idle pool keeps them'],
  ['idleTimeout', 'nothing: idle threads keep what they have loaded, and hold nothing open'],
  ['filename', 'jobs, the result of defineJobs(), which names the file'],
  ['name', 'decorator, the name of the pool on the app'],
  ['workerData', 'nothing: a module of a job loads what it needs at its top level; env passes strings'],
  ['argv', 'nothing: env passes strings to the threads'],
  ['concurrentTasksPerWorker', 'nothing: a thread runs one job at a time; work that waits for I/O is a task'],
  ['concurrency', 'maxThreads for the pool, or concurrency on a job in defineJobs()'],
  ['maxWorkers', 'maxThreads'],
  ['taskQueue', 'priority and concurrency on a job in defineJobs(), and key in the options of run()'],
  ['taskTimeout', 'timeout'],
  ['atomics', 'nothing: threads wait for messages, so that timers of a job fire'],
  ['stats', 'workers.stats()']
])

/** What replaces the options of piscina's run(). */
const insteadOfRunOptions = new Map([
  ['abortSignal', 'signal'],
  ['filename', 'the name of a job of defineJobs()'],
  ['name', 'the name of a job of defineJobs()']
])

function resolveResourceLimits (limits: ResourceLimits): ResourceLimits {
  for (const [key, limit] of Object.entries(check.record('workers.resourceLimits', limits, RESOURCE_LIMITS))) {
    if (limit !== undefined) {
      check.number(`workers.resourceLimits.${key}`, limit,
        { min: key === 'stackSizeMb' ? 0.5 : 1, max: 1_048_576 })
    }
  }
  // The default of Node 20 and 22. With the 192 of Node 24, one collection can move more into the old generation than
  // the 16 MB that Node adds at the limit, and V8 then ends the process in place of the thread.
  return { ...limits, maxYoungGenerationSizeMb: limits.maxYoungGenerationSizeMb ?? 48 }
}

function resolveStrings (option: string, value: unknown): readonly string[] {
  return check.array(option, value).map((entry, index) => check.text(`${option}[${index}]`, entry))
}

function resolveEnv (value: unknown): Record<string, string | undefined> {
  for (const [key, entry] of Object.entries(check.record('workers.env', value))) {
    check.ensure(entry === undefined || typeof entry === 'string', `workers.env.${key}`, 'a string', entry)
  }
  return { ...value as Record<string, string | undefined> }
}

export function resolveOptions (options: WorkersOptions): ResolvedOptions {
  check.record('workers', options, workersOptionNames, insteadOfPoolOptions)
  const { execArgv, env } = options
  const duration = (name: 'maxWait' | 'orderWait' | 'targetWait'): number | undefined =>
    options[name] === undefined ? undefined : check.duration(`workers.${name}`, options[name], { min: 1 })
  const [max, order, target] = [duration('maxWait'), duration('orderWait'), duration('targetWait')]
  // A default gives way to the options that are set.
  const maxWait = max ?? Math.max(admissionDefaults.maxWait, order ?? 0, target ?? 0)
  const orderWait = order ?? Math.min(maxWait, Math.max(admissionDefaults.orderWait, target ?? 0))
  const targetWait = target ?? Math.min(admissionDefaults.targetWait, orderWait)
  check.ensure(orderWait <= maxWait, 'workers.orderWait', `at most maxWait (${maxWait})`, orderWait)
  check.ensure(targetWait <= maxWait, 'workers.targetWait', `at most maxWait (${maxWait})`, targetWait)
  check.ensure(targetWait <= orderWait, 'workers.targetWait', `at most orderWait (${orderWait})`, targetWait)
  return {
    jobs: validateJobs('workers.jobs', options.jobs),
    decorator: check.text('workers.decorator', options.decorator ?? 'workers'),
    maxThreads: check.integer('workers.maxThreads', options.maxThreads ?? availableCpus(), { min: 1, max: 1024 }),
    maxQueue: check.integer('workers.maxQueue', options.maxQueue ?? admissionDefaults.maxQueue, { min: 0 }),
    maxWait,
    orderWait,
    targetWait,
    timeout: check.duration('workers.timeout', options.timeout ?? 30_000, { min: 1 }),
    grace: check.duration('workers.grace', options.grace ?? 1_000),
    closeTimeout: check.duration('workers.closeTimeout', options.closeTimeout ?? 10_000),
    ambient: check.boolean('workers.ambient', options.ambient ?? true),
    resourceLimits: resolveResourceLimits(options.resourceLimits ?? {}),
    ...(execArgv !== undefined && { execArgv: resolveStrings('workers.execArgv', execArgv) }),
    ...(env !== undefined && { env: resolveEnv(env) })
  }
}

/** The options of one call of `run()`. */
export interface RunOptions {
  /** Aborts the job, in the queue or on its thread. The client's disconnect still does so too. */
  signal?: AbortSignal | undefined
  /**
   * The deadline over queue and run, in ms from the call; `Infinity` for none. @default the job's, otherwise the pool's
   */
  timeout?: number | undefined
  /** The class in which the job is served. @default the job's */
  priority?: Priority | undefined
  /**
   * Names whose job this is: threads are shared fairly between keys. @default the client's address in a request,
   * otherwise one key for all
   */
  key?: string | undefined
  /** Lets the job go on when the client leaves. @default false */
  detached?: boolean | undefined
  /** The request that the job belongs to. @default the current request */
  request?: FastifyRequest | undefined
  /** Buffers of the payload that move to the thread and aren't copied. The caller can't use them afterwards. */
  transferList?: readonly Transferable[] | undefined
  /**
   * Called with each value that the job passes to `context.progress()`. If it throws, the job is aborted and rejects
   * with that error.
   */
  onProgress?: ((value: unknown) => void) | undefined
}

/** @internal The same for one run. */
export const runOptionNames = [
  'signal', 'timeout', 'priority', 'key', 'detached', 'request', 'transferList', 'onProgress'
] as const satisfies ReadonlyArray<keyof RunOptions>

/** @throws OptionInvalidError, which rejects the run */
export function checkRunOptions (options: RunOptions): void {
  check.record('run', options, runOptionNames, insteadOfRunOptions)
  const { signal, timeout, priority, key, detached, request, transferList, onProgress } = options
  if (signal !== undefined) check.abortSignal('run.signal', signal)
  if (timeout !== undefined) check.duration('run.timeout', timeout, { min: 0 })
  if (priority !== undefined) check.oneOf('run.priority', priority, priorities)
  if (key !== undefined) check.ensure(typeof key === 'string', 'run.key', 'a string', key)
  if (detached !== undefined) check.boolean('run.detached', detached)
  const isRequest = request === undefined ||
    (typeof request === 'object' && request !== null && 'disconnected' in request)
  check.ensure(isRequest, 'run.request', 'a request of this app', request)
  if (transferList !== undefined) check.array('run.transferList', transferList)
  if (onProgress !== undefined) check.fn('run.onProgress', onProgress)
}
