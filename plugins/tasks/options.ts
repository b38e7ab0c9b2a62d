import { types } from 'node:util'
import * as check from '../shared/options.ts'
import type { Backoff } from './backoff.ts'
import type { TaskDefinitions } from './named/define.ts'
import { memoryEngine, type EngineFactory } from './named/engine.ts'

/** What to do about a task whose id waits or runs already: refuse the newcomer, hand out the old one's handle, or abort the old one. */
export type DuplicatePolicy = 'reject' | 'join' | 'replace'

/** How a task runs; given to submit(), or for all named tasks of a name to defineTasks(). */
export interface RunOptions {
  /**
   * How long one attempt may take, in ms, before its signal aborts. `Infinity`: no bound.
   * @default 30_000
   */
  timeout?: number
  /**
   * How often to try again after a failure.
   * @default 0
   */
  retries?: number
  /**
   * Delay before the n-th retry: random up to `base * 2 ** (n - 1)` ms, at most `max` ms.
   * An error with `retryAfter` (seconds, at most an hour) is waited for at least that long.
   * @default { base: 500, max: 30_000 }
   */
  backoff?: Partial<Backoff>
  /**
   * Tells at once whether this failure, of this attempt (1, 2, …), is worth another try. It isn't asked once `retries` are used up.
   * If it throws or returns a promise, that is logged, and the task isn't tried again.
   * @default always
   */
  retryIf?: (error: Error, attempt: number) => boolean
}

export interface SubmitOptions extends RunOptions {
  /**
   * What to do if a task of this id is waiting or running.
   * @default 'reject'
   */
  duplicate?: DuplicatePolicy
  /**
   * Not before this many ms have passed. Meanwhile it holds a place and no slot. A shutdown gives it up.
   * @default 0
   */
  delay?: number
}

/** Resolved. */
export interface TaskOptions {
  timeout: number
  retries: number
  backoff: Backoff
  retryIf: (error: Error, attempt: number) => boolean
  duplicate: DuplicatePolicy
  delay: number
}

const runKeys = ['timeout', 'retries', 'backoff', 'retryIf'] as const
const submitKeys = [...runKeys, 'duplicate', 'delay'] as const

/** @internal Every option of submit(), for the test that compares them with the README; `wait` is read where it is used. */
export const submitOptionNames = [...submitKeys, 'wait'] as const satisfies ReadonlyArray<keyof SubmitOptions | 'wait'>

/** What retryIf must be. A promise would be true whatever it resolves to. */
export const RETRY_IF = 'a function that returns true or false at once, not a promise'

const always = (): boolean => true

/** What most calls mean; the same object each time, since submit() is hot. */
export const defaultTaskOptions: TaskOptions = {
  timeout: 30_000, retries: 0, backoff: { base: 500, max: 30_000 }, retryIf: always, duplicate: 'reject', delay: 0
}

export function resolveRunOptions (prefix: string, options: RunOptions, defaults: TaskOptions = defaultTaskOptions): TaskOptions {
  return {
    ...defaults,
    timeout: check.duration(`${prefix}.timeout`, options.timeout ?? defaults.timeout, { min: 1 }),
    retries: check.integer(`${prefix}.retries`, options.retries ?? defaults.retries, { min: 0 }),
    backoff: resolveBackoff(`${prefix}.backoff`, options.backoff ?? {}, defaults.backoff),
    retryIf: resolveRetryIf(`${prefix}.retryIf`, options.retryIf ?? defaults.retryIf)
  }
}

function resolveRetryIf (option: string, retryIf: unknown): TaskOptions['retryIf'] {
  check.ensure(!types.isAsyncFunction(retryIf), option, RETRY_IF, retryIf)
  return check.fn(option, retryIf)
}

/** `further`: keys that the caller reads itself. */
export function resolveSubmitOptions (prefix: string, options: SubmitOptions | undefined, defaults: TaskOptions = defaultTaskOptions, further: readonly string[] = []): TaskOptions {
  if (options === undefined) return defaults
  check.record(prefix, options, [...submitKeys, ...further])
  return {
    ...resolveRunOptions(prefix, options, defaults),
    duplicate: check.oneOf(`${prefix}.duplicate`, options.duplicate ?? defaults.duplicate, ['reject', 'join', 'replace']),
    delay: check.duration(`${prefix}.delay`, options.delay ?? defaults.delay, { min: 0, max: check.MAX_DURATION })
  }
}

function resolveBackoff (prefix: string, backoff: Partial<Backoff>, defaults: Backoff): Backoff {
  check.record(prefix, backoff, ['base', 'max'])
  return {
    base: check.duration(`${prefix}.base`, backoff.base ?? defaults.base, { min: 0, max: check.MAX_DURATION }),
    max: check.duration(`${prefix}.max`, backoff.max ?? defaults.max, { min: 0, max: check.MAX_DURATION })
  }
}

/** An id is kept while its task is held, and is on each of its log lines. */
export const MAX_ID_LENGTH = 256

export function checkId (id: unknown): string {
  check.ensure(typeof id === 'string' && id !== '' && id.length <= MAX_ID_LENGTH, 'tasks.id', `a string of 1 to ${MAX_ID_LENGTH} characters`, id)
  return id as string
}

export function checkRunOptions (prefix: string, options: unknown, further: readonly string[]): void {
  check.record(prefix, options, [...further, ...runKeys])
}

export interface TasksOptions extends RunOptions {
  /**
   * How many tasks run at once. Tasks wait for sockets, so this bounds what they ask of others, not the CPU: 64 at 200 ms each are
   * 320 a second, and stay well below the descriptors and connections that a process or a peer has.
   * @default 64
   */
  concurrency?: number
  /**
   * How many more tasks may wait, for a slot, a delay or a retry; the next is refused. At 200 ms each the default drains in about
   * three seconds, within a shutdown's timeout.
   * @default 1_000
   */
  maxQueue?: number
  /**
   * How many callers may wait for room with `{ wait }`; the next is refused.
   * @default 1_000
   */
  maxWaiting?: number
  /**
   * How long a function may go on after its signal has aborted, in ms, before it is reported as leaked and its slot is given to others.
   * @default 1_000
   */
  grace?: number
  /**
   * Keeps the stacks of submit() and group(), up to 1,000 a second, for the report of work that ignores its signal.
   * @default true, unless NODE_ENV is 'production'
   */
  stacks?: boolean
  /**
   * How long closing waits for accepted tasks, in ms, when the lifecycle plugin isn't there to say it.
   * @default 10_000
   */
  closeTimeout?: number
  /**
   * The tasks that enqueue() knows, by name: see defineTasks().
   * @default {}
   */
  tasks?: TaskDefinitions
  /**
   * Where named tasks are kept and run.
   * @default in this process's memory
   */
  engine?: EngineFactory
  /**
   * Lets tasks and groups know the current request through AsyncLocalStorage.
   * @default true
   */
  ambient?: boolean
}

export interface ResolvedTasksOptions {
  concurrency: number
  maxQueue: number
  maxWaiting: number
  grace: number
  stacks: boolean
  closeTimeout: number
  tasks: TaskDefinitions
  engine: EngineFactory
  ambient: boolean
  /** For each submit(). */
  defaults: TaskOptions
}

/** @internal Every option, for the test that compares them with the README. */
export const tasksOptionNames = [
  'concurrency', 'maxQueue', 'maxWaiting', 'timeout', 'retries', 'backoff', 'retryIf', 'grace', 'stacks', 'closeTimeout', 'tasks', 'engine', 'ambient'
] as const satisfies ReadonlyArray<keyof TasksOptions>

export function resolveOptions (options: TasksOptions): ResolvedTasksOptions {
  check.record('tasks', options, tasksOptionNames)
  return {
    concurrency: check.integer('tasks.concurrency', options.concurrency ?? 64, { min: 1 }),
    maxQueue: check.integer('tasks.maxQueue', options.maxQueue ?? 1_000, { min: 0 }),
    maxWaiting: check.integer('tasks.maxWaiting', options.maxWaiting ?? 1_000, { min: 0 }),
    grace: check.duration('tasks.grace', options.grace ?? 1_000, { min: 0, max: check.MAX_DURATION }),
    stacks: check.boolean('tasks.stacks', options.stacks ?? process.env['NODE_ENV'] !== 'production'),
    closeTimeout: check.duration('tasks.closeTimeout', options.closeTimeout ?? 10_000),
    tasks: check.record('tasks.tasks', options.tasks ?? {}) as TaskDefinitions,
    engine: check.fn('tasks.engine', options.engine ?? memoryEngine),
    ambient: check.boolean('tasks.ambient', options.ambient ?? true),
    defaults: resolveRunOptions('tasks', options)
  }
}
