/**
 * An engine keeps and runs named tasks. The memory engine runs them in this process and loses them with it. The engine
 * of ../bullmq stores them in Redis. The tests of test/tasks/named/engine-contract.ts state the contract, and run
 * against each engine.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { TraceCarrier } from '../../../workers/protocol.ts'
import type { Drainable } from '../../shared/drainables.ts'
import type { TaskOptions } from '../task-options.ts'
import * as check from '../../shared/options.ts'
import type { EngineOperations, Schedule } from './operations.ts'
import type { Scheduler, TasksStats } from '../scheduler.ts'
import type { Submission, TaskContext, TaskHandle } from '../task.ts'

/** A named task as it is given to the engine. */
export interface NamedTask {
  /** The name under which the task is defined. */
  name: string
  /** The name, a colon, and `ownId`. */
  id: string
  /** The caller's id, or a UUID. */
  ownId: string
  /** Whether the caller chose the id. If so, another task may have it. */
  isIdChosen: boolean
  /** A copy, as JSON would make it. The handler never sees the caller's own object. */
  payload: unknown
  /** How the task is tried, and for how long. */
  options: TaskOptions
  /** The client or tenant whose share of the queue the task takes. */
  key: string
  /** The id of the request that has enqueued the task. */
  reqId: string | undefined
  /**
   * The trace in which the task was enqueued, if somebody traces tasks. An engine that runs the task in another process
   * keeps the carrier with the task, and passes it to the scheduler there.
   */
  carrier: TraceCarrier | undefined
}

/** A task that runs again and again. */
export interface ScheduledTask {
  /** The name under which the task is defined. */
  name: string
  /** Names the schedule among those of its task. */
  id: string
  /** When the task runs. */
  schedule: Schedule
  /** The payload of each run. */
  payload: unknown
  /** How each run is tried, and for how long. */
  options: TaskOptions
}

/** What is stored of the tasks of a name, counted over all processes. */
export interface QueueStats {
  /** The name of the tasks. */
  name: string
  /** Tasks that could run now, those whose delay is over among them, or wait for others of their key. */
  waiting: number
  /** Tasks whose delay, or pause before the next attempt, is not over. */
  delayed: number
  /** Tasks that run now, in any process. */
  running: number
  /** Tasks that have failed for the last time and are kept, with their errors. */
  failed: number
  /** How long the task that is next in line has waited since it was enqueued and its delay had passed, in ms. */
  oldestMs: number
  /** Whether pause() keeps all processes from beginning tasks of this name. */
  paused: boolean
  /** The processes that consume the name and were seen in the last 15 s; absent if the engine doesn't know. */
  processes?: number
}

/** What keeps named tasks and decides when they run: in memory, or in Redis. */
export interface Engine {
  /**
   * Accepts the task, or rejects with FC_ERR_TASKS_FULL, FC_ERR_TASK_DUPLICATE, FC_ERR_TASK_STORE or FC_ERR_CLOSING.
   * The engine calls the host's run() for each attempt and obeys the options: deadline, retries with backoff, delay,
   * duplicates.
   */
  enqueue (task: NamedTask): Promise<TaskHandle>
  /** The work that the engine holds beside the scheduler, to be drained in the phase `tasks`. */
  readonly drainable?: Drainable
  /** Begins to run tasks. Is called when the app is ready, since handlers use its decorators. */
  start? (): void
  /** Cancels a task that waits or runs in any process. Resolves to whether there was one. */
  cancel? (id: string): Promise<boolean>
  /** Runs a task again and again. A schedule of the same name and id is replaced. */
  schedule? (task: ScheduledTask): Promise<void>
  /** Ends a schedule. Resolves to whether there was one. */
  unschedule? (name: string, id: string): Promise<boolean>
  /** Returns what is stored, by name. */
  queues? (): Promise<QueueStats[]>
  /** Present if tasks are stored. */
  readonly operations?: EngineOperations
  /** What the engine has run in this process. */
  stats? (): TasksStats
  /** Is called when everything has drained. */
  close? (): Promise<void>
}

/** What an engine is given to run tasks with. */
export interface EngineHost {
  /** The names of the tasks that are defined. */
  readonly names: readonly string[]
  /** The application's logger. */
  readonly log: FastifyBaseLogger
  /** Bounded background work in this process. */
  readonly scheduler: Pick<Scheduler, 'submit'>
  /** Calls the handler of a name. */
  run (name: string, payload: unknown, context: TaskContext): unknown
}

/** Is called while the app boots. If it throws, the boot fails. */
export type EngineFactory = (host: EngineHost) => Engine | Promise<Engine>

/** Throws FC_ERR_OPTION_INVALID if what a factory has returned is no engine. */
export function checkEngine (engine: unknown): Engine {
  const isEngine = typeof engine === 'object' && engine !== null && 'enqueue' in engine &&
    typeof engine.enqueue === 'function'
  check.ensure(isEngine, 'tasks.engine', 'a function that returns an engine, which has enqueue()', engine)
  return engine as Engine
}

export const memoryEngine: EngineFactory = ({ scheduler, run }) => ({
  enqueue: async ({ name, payload, id, key, options, reqId }) => {
    // Without the carrier: the async context holds the trace, with all that belongs to it.
    const submission: Submission = { id, key, options, reqId, fn: (context) => run(name, payload, context) }
    return scheduler.submit(submission)
  }
})
