/** What is known of stored tasks that run or will run, of their schedules, and of the processes that run them. */

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
