/** TaskTelemetry reports the events of tasks and groups, to the log and to the diagnostics channels. It is called after an event, and decides nothing. */
import type { FastifyInstance } from 'fastify'
import type { TraceCarrier } from '../../workers/protocol.ts'
import type { Unfinished } from '../shared/drainables.ts'
import { TaskDuplicateError, taskRefusalReasons, type TaskRefusalReason } from '../shared/errors.ts'
import { classOf, refusalCounter } from '../shared/refusal-log.ts'
import { isRefusal } from '../shared/coded-error.ts'
import type { TypedChannel } from '../shared/typed-channel.ts'
import * as channels from './channels.ts'
import type { TaskMessage, TaskTrace } from './channels.ts'
import { logSafely } from '../shared/log.ts'
import { nameOf, type Outcome, type Task, type TaskContext } from './task.ts'

type Details<Message extends TaskMessage> = Omit<Message, keyof TaskMessage>

export class TaskTelemetry {
  readonly #app: FastifyInstance

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  submitted ({ id }: { id: string }): void {
    this.#publish(channels.taskSubmitted, id, {})
  }

  started (task: Task, waitMs: number): void {
    if (channels.taskStarted.hasSubscribers) this.#publish(channels.taskStarted, task.id, { attempt: task.attempts, waitMs })
  }

  /** Returns the trace that is to go with a task to its engine, if somebody traces tasks. */
  carrierFor (id: string): TraceCarrier | undefined {
    if (!channels.taskEnqueued.hasSubscribers) return undefined
    const message: TaskMessage & { carrier: TraceCarrier | undefined } = Object.assign(this.#identity(id), { carrier: undefined })
    channels.taskEnqueued.publish(message)
    return message.carrier
  }

  /** Calls the function of a task for an attempt. */
  call (task: Task, attempt: TaskContext & { readonly startedAt: number }): unknown {
    const { fn, carrier } = task.submission
    if (!channels.taskAttempt.hasSubscribers) return fn(attempt)
    const trace: TaskTrace = Object.assign(this.#identity(task.id), { attempt: task.attempts, waitMs: attempt.startedAt - task.since, carrier, around: undefined })
    task.trace = trace
    return channels.taskAttempt.begin(trace, () => trace.around === undefined ? fn(attempt) : trace.around(() => fn(attempt)))
  }

  /** @param value what the function returned, or the error */
  settled (task: Task, outcome: Outcome, value: unknown, durationMs: number): void {
    if (outcome === 'completed') return this.#completed(task, durationMs)
    const error = value as Error
    endTrace(task, outcome, error)
    const failed = outcome === 'failed'
    this.#log(task, failed ? 'error' : 'info', `task ${outcome}`, { err: error })
    this.#publish(failed ? channels.taskFailed : channels.taskAborted, task.id, { attempt: task.attempts, error })
  }

  #completed (task: Task, durationMs: number): void {
    endTrace(task, 'completed')
    const { level } = this.#app.log
    if (level === 'debug' || level === 'trace') this.#log(task, 'debug', 'task completed', { durationMs: Math.round(durationMs) })
    if (channels.taskCompleted.hasSubscribers) this.#publish(channels.taskCompleted, task.id, { attempt: task.attempts, durationMs })
  }

  retried (task: Task, error: Error, delayMs: number): void {
    endTrace(task, 'retried', error)
    this.#log(task, 'warn', 'task failed and will be tried again', { err: error, delayMs: Math.round(delayMs) })
    this.#publish(channels.taskRetried, task.id, { attempt: task.attempts, error, delayMs })
  }

  /** A stored task has lost its process, or its lock, and is run again. */
  recovered (id: string, attempt: number, error: Error): void {
    logSafely(this.#app.log, 'warn', { task: id, attempt, err: error }, 'a task has lost its process and will be run again')
    this.#publish(channels.taskRetried, id, { attempt, error, delayMs: 0 })
  }

  /** A stored task has ended without a run: it was cancelled, or has crashed too often. */
  endedUnrun (outcome: 'failed' | 'aborted', id: string, attempt: number, error: Error): void {
    const failed = outcome === 'failed'
    logSafely(this.#app.log, failed ? 'error' : 'info', { task: id, attempt, err: error }, `task ${outcome}`)
    this.#publish(failed ? channels.taskFailed : channels.taskAborted, id, { attempt, error })
  }

  retryIfFailed (task: Task, error: Error): void {
    this.#log(task, 'error', 'retryIf has failed: the task is not tried again', { err: error })
  }

  leaked (task: Task): void {
    this.#log(task, 'error', 'the function of a task ignores its signal and runs on; the task has failed, and its slot goes to others', {})
    this.#publish(channels.taskLeaked, task.id, { attempt: task.attempts })
  }

  /** A task was not accepted. The error is thrown to the caller, so it isn't logged. */
  refused (id: string, error: unknown): void {
    if (error instanceof TaskDuplicateError) return this.#publish(channels.taskDuplicate, id, {})
    // A mistake of the calling code, such as an invalid option, is no refusal.
    if (isTaskRefusal(error)) this.#publish(channels.taskRefused, id, { reason: error.reason, error })
  }

  /** The promise of enqueue() was rejected, and nobody awaits it. */
  enqueueUnseen (name: string, reqId: string | undefined, err: unknown): void {
    const refused = isRefusal(err)
    // Load must not flood the log: refusals are counted into its sampled lines.
    if (refused) refusalCounter(this.#app)({ ...classOf(err as Error), task: name })
    logSafely(this.#app.log, refused ? 'debug' : 'error', { task: name, reqId, err }, 'tasks.enqueue() has failed, and nobody awaits its promise: the task was not accepted')
  }

  /** A group has failed with an error that nobody has seen. */
  groupErrorUnseen (error: unknown, log = this.#app.log): void {
    logSafely(log, 'warn', { err: error }, 'a group has failed, and nobody awaits its promise: await wait(), map() or race()')
    if (channels.groupDropped.hasSubscribers) channels.groupDropped.publish({ server: this.#app.server, error })
  }

  /** The group rejects with the error of the function that failed first: this one is another's, often a consequence of the abort. */
  groupErrorFurther (error: unknown, log = this.#app.log): void {
    logSafely(log, 'debug', { err: error }, 'another function of a group that has failed has failed too')
  }

  groupLeaked (group: Unfinished, log = this.#app.log): void {
    logSafely(log, 'warn', { group }, 'functions of a group ignore its signal and run on; a shutdown does not wait for them any more')
  }

  #log ({ id, attempts, reqId }: Task, level: 'debug' | 'info' | 'warn' | 'error', message: string, details: object): void {
    logSafely(this.#app.log, level, { task: id, attempt: attempts, reqId, ...details }, message)
  }

  #publish<Message extends TaskMessage> (channel: TypedChannel<Message>, id: string, details: Details<Message>): void {
    if (channel.hasSubscribers) channel.publish(Object.assign(this.#identity(id), details) as Message)
  }

  #identity (id: string): TaskMessage {
    return { server: this.#app.server, kind: 'task', name: nameOf(id), id }
  }
}

function isTaskRefusal (error: unknown): error is Error & { reason: TaskRefusalReason } {
  return isRefusal(error) && taskRefusalReasons.includes((error as { reason?: unknown }).reason as TaskRefusalReason)
}

/** Ends the trace of the attempt that has run. A task that is cancelled while it waits has no attempt. */
function endTrace (task: Task, outcome: NonNullable<TaskTrace['outcome']>, error?: Error): void {
  const { trace } = task
  if (trace === undefined) return
  task.trace = undefined
  channels.taskAttempt.end(Object.assign(trace, { outcome, error }))
}
