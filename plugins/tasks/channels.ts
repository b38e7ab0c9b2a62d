/** The diagnostics channels of tasks. The field `server` distinguishes the apps of one process. */
import type { TraceCarrier } from '../../workers/protocol.ts'
import type { TaskRefusalReason } from '../shared/errors.ts'
import { typedChannel, typedTracingChannel } from '../shared/typed-channel.ts'

export interface TaskMessage {
  /** The app's server. */
  server: object
  kind: 'task'
  /** The part of the id before the first colon. */
  name: string
  id: string
}

/** A task was accepted. */
export const taskSubmitted = typedChannel<TaskMessage>('tasks:submitted')

/** An attempt began. `waitMs` is the time since the task was submitted. */
export const taskStarted = typedChannel<TaskMessage & { attempt: number, waitMs: number }>('tasks:started')

export const taskCompleted = typedChannel<TaskMessage & { attempt: number, durationMs: number }>('tasks:completed')

/** A task failed for the last time. */
export const taskFailed = typedChannel<TaskMessage & { attempt: number, error: Error }>('tasks:failed')

/** A task failed and will be tried again in `delayMs`. */
export const taskRetried = typedChannel<TaskMessage & {
  attempt: number, error: Error, delayMs: number
}>('tasks:retried')

/** A task was aborted by cancel(), or given up by a shutdown. */
export const taskAborted = typedChannel<TaskMessage & { attempt: number, error: Error }>('tasks:aborted')

/** A task was not accepted: there was no place for it, its store is away, or the service is closing. */
export const taskRefused = typedChannel<TaskMessage & { reason: TaskRefusalReason, error: Error }>('tasks:refused')

/**
 * A task was not accepted, because a task with its id waits or runs. The service could have served it, so this is no
 * refusal.
 */
export const taskDuplicate = typedChannel<TaskMessage>('tasks:duplicate')

/** The function of a task ignores its signal and runs on, and nobody waits for it. */
export const taskLeaked = typedChannel<TaskMessage & { attempt: number }>('tasks:leaked')

/**
 * A named task is given to its engine, which may run it in another process. A subscriber may set `carrier`, which goes
 * with the task.
 */
export const taskEnqueued = typedChannel<TaskMessage & { carrier: TraceCarrier | undefined }>('tasks:enqueued')

/**
 * One attempt of a task: the call of its function, until the attempt has ended. The code that submitted the task is the
 * async context.
 */
export interface TaskTrace extends TaskMessage {
  attempt: number
  /** The time since the task was submitted. */
  waitMs: number
  /** What went with the task if it comes from another process. */
  readonly carrier: TraceCarrier | undefined
  /**
   * Calls the function of the task. A subscriber of `start` may set it, to make its span the current one: the store of
   * OpenTelemetry's context manager is private, so it can't be bound to the channel.
   */
  around: (<T>(fn: () => T) => T) | undefined
  /**
   * How the attempt has ended: undefined until then, as is `error`. An attempt that is followed by another one was
   * `retried`.
   */
  outcome?: 'completed' | 'failed' | 'aborted' | 'retried'
  error?: unknown
}

export const taskAttempt = typedTracingChannel<TaskTrace>('tasks:attempt')

/** A group has failed, and nobody awaits its promise. */
export const groupDropped = typedChannel<{ server: object, error: unknown }>('tasks:group-dropped')

/** Published once, when the application gets ready: the names of named tasks. */
export const tasksDefined = typedChannel<{ server: object, names: readonly string[] }>('tasks:defined')
