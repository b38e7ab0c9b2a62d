/** The options of the tasks plugin. */
import * as check from '../shared/options.ts'
import type { TaskDefinitions } from './named/define.ts'
import { memoryEngine, type EngineFactory } from './named/engine.ts'
import { resolveRunOptions, type TaskRunOptions, type TaskOptions } from './task-options.ts'

export interface TasksOptions extends TaskRunOptions {
  /**
   * How many tasks run at the same time. Tasks wait for sockets, so `concurrency` bounds what they ask of other services, not the CPU. 64
   * tasks of 200 ms each are 320 a second, well below the descriptors and connections that a process or a peer has.
   * @default 64
   */
  concurrency?: number
  /**
   * How many more tasks may wait, for a slot, a delay or a retry. The next task is refused. At 200 ms each, the default drains in about three
   * seconds, within a shutdown's timeout.
   * @default 1_000
   */
  maxQueue?: number
  /**
   * How long a function may run on after its signal has aborted, in ms. Then it is reported as leaked, and its slot goes to other tasks.
   * @default 1_000
   */
  grace?: number
  /**
   * How long closing waits for accepted tasks and for groups, in ms, when the lifecycle plugin isn't there to say it. Functions that ignore the
   * signal of their group are held for this long, with lifecycle too.
   * @default 10_000
   */
  closeTimeout?: number
  /**
   * The tasks that enqueue() knows, by name: see defineTasks().
   * @default {}
   */
  tasks?: TaskDefinitions
  /**
   * The engine that keeps and runs named tasks.
   * @default one in this process's memory
   */
  engine?: EngineFactory
  /**
   * Lets tasks and groups detect the current request, through AsyncLocalStorage.
   * @default true
   */
  ambient?: boolean
}

export interface ResolvedTasksOptions {
  concurrency: number
  maxQueue: number
  grace: number
  closeTimeout: number
  tasks: TaskDefinitions
  engine: EngineFactory
  ambient: boolean
  /** For each submit(). */
  defaults: TaskOptions
}

/** @internal Every option, for the test that compares them with the docs. */
export const tasksOptionNames = [
  'concurrency', 'maxQueue', 'timeout', 'retries', 'backoff', 'retryIf', 'grace', 'closeTimeout', 'tasks', 'engine', 'ambient'
] as const satisfies ReadonlyArray<keyof TasksOptions>

export function resolveOptions (options: TasksOptions): ResolvedTasksOptions {
  check.record('tasks', options, tasksOptionNames)
  return {
    concurrency: check.integer('tasks.concurrency', options.concurrency ?? 64, { min: 1 }),
    maxQueue: check.integer('tasks.maxQueue', options.maxQueue ?? 1_000, { min: 0 }),
    grace: check.duration('tasks.grace', options.grace ?? 1_000, { min: 0, max: check.MAX_DURATION }),
    closeTimeout: check.duration('tasks.closeTimeout', options.closeTimeout ?? 10_000),
    tasks: check.record('tasks.tasks', options.tasks ?? {}) as TaskDefinitions,
    engine: check.fn('tasks.engine', options.engine ?? memoryEngine),
    ambient: check.boolean('tasks.ambient', options.ambient ?? true),
    defaults: resolveRunOptions('tasks', options)
  }
}
