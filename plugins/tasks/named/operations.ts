/**
 * Operations is what an operator does with stored tasks, as `app.tasks` and the engine say it; and what is known of
 * them: of those that have failed, that run or will run, of their schedules, and of the processes that run them.
 */

/** FailedTask is a stored task that has failed for the last time, and is kept with its error. */
export interface FailedTask<Payload = unknown> {
  /** The id of the handle and of the log: the name, a colon, and the id given to enqueue(). */
  id: string
  /** Distinguishes failed tasks of the same id. retry() and discard() take it in place of the id. */
  storedId: string
  /** The error of the last attempt. `stack` is absent if none was kept. */
  error: { name: string, message: string, code?: string, stack?: string }
  /** How many attempts were made. */
  attempts: number
  /** When enqueue() accepted the task, in ms since the epoch. */
  enqueuedAt: number
  /** When the last attempt ended, in ms since the epoch, by the clock of the process that ran the task. */
  failedAt: number
  /** Present only if it was asked for. It may hold personal data, and may be large. */
  payload?: Payload
}

/** Options of `tasks.failed()`. */
export interface FailedOptions {
  /**
   * How many failed tasks to leave out, of the latest.
   * @default 0
   */
  offset?: number
  /**
   * How many failed tasks to read, 1 to 1,000.
   * @default 100
   */
  limit?: number
  /**
   * Reads the payloads, too.
   * @default false
   */
  payload?: boolean
}

/**
 * When a scheduled task runs: a cron expression of 5 or 6 fields (with seconds), in UTC unless `timezone` says
 * otherwise; or every so many ms.
 */
export type Schedule = { cron: string, timezone?: string } | { every: number }

/** Options of `tasks.inspect()`. */
export interface InspectOptions {
  /**
   * How many running, waiting and delayed tasks and schedules to read, of each, 1 to 1,000.
   * @default 50
   */
  limit?: number
}

/** A stored task that runs. */
export interface RunningTask {
  /** The id of the handle and of the log. */
  id: string
  /** The process that runs it, by the `name` of processes(); undefined if another program runs it. */
  process: string | undefined
  /** Counts from 1. */
  attempt: number
  /** When this attempt began, in ms since the epoch, by the clock of its process. */
  startedAt: number
}

/** A stored task that could run now. It waits for a process, or for others of its key. */
export interface WaitingTask {
  /** The id of the handle and of the log. */
  id: string
  /** When it was enqueued, in ms since the epoch. */
  enqueuedAt: number
  /** Whether it waits for others of its key, of which as many run or are next as `perKey` allows. */
  waitsForKey: boolean
}

/** A stored task that waits for its delay, for its next attempt, or for the next run of its schedule. */
export interface DelayedTask {
  /** The id of the handle and of the log. */
  id: string
  /** How many attempts were made. It is 0 unless the task waits for its next attempt. */
  attempts: number
  /** The earliest time of its next attempt, in ms since the epoch. */
  runsAt: number
  /** The message of the latest attempt's error, if there was one. */
  message: string | undefined
}

/** A schedule of a stored task. */
export interface ScheduleState {
  /** The id given to schedule(). */
  id: string
  /** When it runs. */
  schedule: Schedule
  /** The time of its next run, in ms since the epoch. */
  nextAt: number
}

/** What there is of the tasks of a name. */
export interface Inspection {
  /** The tasks that run now. */
  running: RunningTask[]
  /** The tasks that wait: those that run next, in their order, and then those that wait for others of their key. */
  waiting: WaitingTask[]
  /** The tasks that run later, the next one first. */
  delayed: DelayedTask[]
  /** The schedules, the next one first. */
  schedules: ScheduleState[]
}

/**
 * A process that consumes stored tasks. It says every few seconds that it lives. One that was killed stays for an hour.
 */
export interface ConsumingProcess {
  /** The name of its machine or container, and its process id: `web-7d4b9:17`. */
  name: string
  /** The names of the tasks that it consumes. */
  consumes: string[]
  /** The tasks of each name that it runs at once. */
  concurrency: number
  /** When it began to consume, in ms since the epoch. */
  startedAt: number
  /** How long ago it was last seen, in ms. A process that lives is seen every 5 seconds. */
  seenMs: number
}

/** What an operator does with the stored tasks of one name. */
export interface Operations<Name extends string = string> {
  /**
   * Puts a failed task back in line, with its attempts counted anew and its `idempotencyKey` as it was. Rejects with
   * FC_ERR_TASK_NOT_FOUND, FC_ERR_TASK_NOT_FAILED, and with FC_ERR_TASK_DUPLICATE if another task of its id waits or
   * runs.
   *
   * @param id the `id` of the task, or its `storedId`. Of several failed tasks with this id it is the latest.
   */
  retry (name: Name, id: string): Promise<void>
  /**
   * Puts all tasks of this name that have failed back in line, the oldest first. A task whose id waits or runs already
   * stays among the failed. Resolves to how many were put back.
   */
  retryAll (name: Name): Promise<number>
  /**
   * Forgets a failed task, with its payload and its error. Rejects with FC_ERR_TASK_NOT_FOUND and
   * FC_ERR_TASK_NOT_FAILED. Use cancel() for a task that waits or runs.
   *
   * @param id as of retry()
   */
  discard (name: Name, id: string): Promise<void>
  /** Forgets all tasks of this name that have failed. Resolves to how many there were. */
  discardAll (name: Name): Promise<number>
  /**
   * No process begins a task of this name until resume(). What runs goes on, and enqueue() accepts as before, up to
   * `maxStored`. A pause is kept in Redis: it outlives this process, and a restart.
   */
  pause (name: Name): Promise<void>
  /** Ends a pause, if there is one. */
  resume (name: Name): Promise<void>
  /** Resolves to whether the tasks of this name are paused. */
  isPaused (name: Name): Promise<boolean>
  /**
   * Resolves to the tasks of this name that run, in any process, and to those that run next of the waiting, and of the
   * delayed and the retried; and to its schedules. Use queues() for their numbers.
   */
  inspect (name: Name, options?: InspectOptions): Promise<Inspection>
}

/** What an engine that stores tasks offers. Names are defined, and options are whole. */
export interface EngineOperations extends Operations {
  /** Returns tasks of a name that have failed for the last time. */
  failed (name: string, options: Required<FailedOptions>): Promise<FailedTask[]>
  inspect (name: string, options: Required<InspectOptions>): Promise<Inspection>
  /** Returns the processes that consume tasks. */
  processes (): Promise<ConsumingProcess[]>
}
