/** The plugin's options, and those of one run. */
import type { FastifyRequest } from 'fastify'
import type { ResourceLimits } from 'node:worker_threads'
import type { Jobs, Priority, Transferable } from '../../workers/jobs.ts'
import * as check from '../shared/options.ts'
import { admissionDefaults } from './admission/admission.ts'
import { availableCpus } from './cpus.ts'
import { validateJobs } from './registry.ts'
import { priorities } from './admission/queue-entry.ts'

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
   * Threads. More than there are CPUs only makes every job slower, the event loop first.
   * @default the CPUs that this process may really use, its container's quota included
   */
  maxThreads?: number
  /**
   * Jobs waiting, at most: a bound on memory. What bounds the wait is `maxWait`.
   * @default 1000
   */
  maxQueue?: number
  /**
   * How long a job may wait: a job that would wait longer, or has waited longer, is refused. So it is also how much work may wait, by time.
   * `Infinity` for no bound.
   * @default 10000
   */
  maxWait?: number
  /**
   * How long the jobs of a key keep the order of their arrival. Jobs that have waited longer are served when nothing newer of their key waits:
   * in an overload it is better to serve those who came lately than those who are about to leave.
   * @default 1000
   */
  orderWait?: number
  /**
   * The wait in a sustained overload, or more if that keeps the threads busy. Those who are served are served fast, and the others are refused at once.
   * @default 100
   */
  targetWait?: number
  /**
   * The deadline over queue and run of a job that names none; `Infinity` for none.
   * @default 30000
   */
  timeout?: number
  /**
   * How long a job that was aborted may go on before its thread is ended; `Infinity` to never end it.
   * @default 1000
   */
  grace?: number
  /**
   * How long closing waits for accepted jobs when the lifecycle plugin isn't there to say it.
   * @default 10000
   */
  closeTimeout?: number
  /** Limits of each thread's V8 heap and stack, as of `worker_threads`. A job past them is a crash of its thread. */
  resourceLimits?: ResourceLimits
  /** Node options of the threads, such as `['--import', loader]`. @default those of the process */
  execArgv?: readonly string[]
  /** The threads' `process.env`. @default a copy of the process's */
  env?: Readonly<Record<string, string | undefined>>
  /**
   * Cancels a job when the client of the request being handled leaves, without the request being passed along.
   * @default true
   */
  ambient?: boolean
}

/** Options of Node itself, which has the defaults. */
type NodeOption = 'resourceLimits' | 'execArgv' | 'env'

export type ResolvedOptions = Readonly<Required<Omit<WorkersOptions, NodeOption>> & Pick<WorkersOptions, NodeOption>>

const RESOURCE_LIMITS = ['maxOldGenerationSizeMb', 'maxYoungGenerationSizeMb', 'codeRangeSizeMb', 'stackSizeMb']

/** @internal Every option, for the test that compares them with the README. */
export const workersOptionNames = ['jobs', 'decorator', 'maxThreads', 'maxQueue', 'maxWait', 'orderWait', 'targetWait', 'timeout', 'grace', 'closeTimeout', 'resourceLimits', 'execArgv', 'env', 'ambient'] as const satisfies ReadonlyArray<keyof WorkersOptions>

function resolveResourceLimits (value: unknown): ResourceLimits {
  for (const [key, limit] of Object.entries(check.record('workers.resourceLimits', value, RESOURCE_LIMITS))) {
    if (limit !== undefined) check.number(`workers.resourceLimits.${key}`, limit, { min: key === 'stackSizeMb' ? 0.5 : 1, max: 1_048_576 })
  }
  return { ...value as ResourceLimits }
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
  check.record('workers', options, workersOptionNames)
  const { resourceLimits, execArgv, env } = options
  // A default gives way to the options that are set.
  const { targetWait: target, orderWait: order } = options
  const maxWait = check.duration('workers.maxWait', options.maxWait ?? Math.max(admissionDefaults.maxWait, order ?? 0, target ?? 0), { min: 1 })
  const orderWait = check.duration('workers.orderWait', order ?? Math.min(maxWait, Math.max(admissionDefaults.orderWait, target ?? 0)), { min: 1 })
  const targetWait = check.duration('workers.targetWait', target ?? Math.min(admissionDefaults.targetWait, orderWait), { min: 1 })
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
    ...(resourceLimits !== undefined && { resourceLimits: resolveResourceLimits(resourceLimits) }),
    ...(execArgv !== undefined && { execArgv: resolveStrings('workers.execArgv', execArgv) }),
    ...(env !== undefined && { env: resolveEnv(env) })
  }
}

/** How one job is run. */
export interface RunOptions {
  /** Aborts the job, in the queue or on its thread. Beside the client's disconnect, not in its place. */
  signal?: AbortSignal | undefined
  /** The deadline over queue and run, in ms from now; `Infinity` for none. @default the job's, else the pool's */
  timeout?: number | undefined
  /** The class it is served in. @default the job's */
  priority?: Priority | undefined
  /** Whose job this is: threads are shared fairly between keys. @default the client's address in a request, else one key for all */
  key?: string | undefined
  /** Go on when the client leaves. @default false */
  detached?: boolean | undefined
  /** The request that this belongs to, where it isn't the ambient one. */
  request?: FastifyRequest | undefined
  /** Buffers of the payload that move to the thread and aren't copied. They are unusable here afterwards. */
  transferList?: readonly Transferable[] | undefined
  /** Called with each value that the job passes to `context.progress()`. If it throws, the job is aborted and rejects with that. */
  onProgress?: ((value: unknown) => void) | undefined
}

/** @internal The same for one run. */
export const runOptionNames = ['signal', 'timeout', 'priority', 'key', 'detached', 'request', 'transferList', 'onProgress'] as const satisfies ReadonlyArray<keyof RunOptions>

/** @throws OptionInvalidError, which rejects the run */
export function checkRunOptions (options: RunOptions): void {
  check.record('run', options, runOptionNames)
  const { signal, timeout, priority, key, detached, request, transferList, onProgress } = options
  if (signal !== undefined) check.ensure(signal instanceof AbortSignal, 'run.signal', 'an AbortSignal', signal)
  if (timeout !== undefined) check.duration('run.timeout', timeout, { min: 0 })
  if (priority !== undefined) check.oneOf('run.priority', priority, priorities)
  if (key !== undefined) check.ensure(typeof key === 'string', 'run.key', 'a string', key)
  if (detached !== undefined) check.boolean('run.detached', detached)
  if (request !== undefined) check.ensure(typeof request === 'object' && request !== null && 'disconnected' in request, 'run.request', 'a request of this app', request)
  if (transferList !== undefined) check.array('run.transferList', transferList)
  if (onProgress !== undefined) check.fn('run.onProgress', onProgress)
}
