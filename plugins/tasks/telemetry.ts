/** Telemetry reports the events of tasks and groups, to the log and to the diagnostics channels. It is called after an event, and decides nothing. */
import type { FastifyInstance } from 'fastify'
import type { Unfinished } from '../shared/drainables.ts'
import { refusalCounter } from '../shared/refusal-log.ts'
import { isRefusal } from '../shared/coded-error.ts'
import type { TypedChannel } from '../shared/typed-channel.ts'
import * as channels from './channels.ts'
import type { TaskMessage } from './channels.ts'
import { logSafely } from '../shared/log.ts'
import { nameOf, type Outcome, type Task } from './task.ts'
import { toError } from './thrown.ts'

type Details<Message extends TaskMessage> = Omit<Message, keyof TaskMessage>

export class Telemetry {
  readonly #app: FastifyInstance

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  submitted (task: Task): void {
    this.#publish(channels.taskSubmitted, task.id, {})
  }

  started (task: Task, waitMs: number): void {
    if (channels.taskStarted.hasSubscribers) this.#publish(channels.taskStarted, task.id, { attempt: task.attempts, waitMs })
  }

  /** @param value what the function returned, or the error */
  settled (task: Task, outcome: Outcome, value: unknown, durationMs: number): void {
    if (outcome === 'completed') return this.#completed(task, durationMs)
    const error = value as Error
    const failed = outcome === 'failed'
    this.#log(task, failed ? 'error' : 'info', `task ${outcome}`, { err: error })
    this.#publish(failed ? channels.taskFailed : channels.taskAborted, task.id, { attempt: task.attempts, error })
  }

  #completed (task: Task, durationMs: number): void {
    const { level } = this.#app.log
    if (level === 'debug' || level === 'trace') this.#log(task, 'debug', 'task completed', { durationMs: Math.round(durationMs) })
    if (channels.taskCompleted.hasSubscribers) this.#publish(channels.taskCompleted, task.id, { attempt: task.attempts, durationMs })
  }

  retried (task: Task, error: Error, delayMs: number): void {
    this.#log(task, 'warn', 'task failed and will be tried again', { err: error, delayMs: Math.round(delayMs) })
    this.#publish(channels.taskRetried, task.id, { attempt: task.attempts, error, delayMs })
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
    if (channels.taskRefused.hasSubscribers) this.#publish(channels.taskRefused, id, { error: toError(id, error) })
  }

  /** The promise of enqueue() was rejected, and nobody awaits it. */
  enqueueUnseen (name: string, err: unknown): void {
    const refused = isRefusal(err)
    // Load must not flood the log: refusals are counted into its sampled line.
    if (refused) refusalCounter(this.#app)((err as { code: string }).code)
    logSafely(this.#app.log, refused ? 'debug' : 'error', { task: name, err }, 'tasks.enqueue() has failed, and nobody awaits its promise: the task was not accepted')
  }

  /** A group has failed with an error that nobody has seen. */
  groupErrorUnseen (error: unknown): void {
    logSafely(this.#app.log, 'warn', { err: error }, 'a group has failed, and nobody awaits its promise: await wait(), map() or race()')
    if (channels.groupDropped.hasSubscribers) channels.groupDropped.publish({ server: this.#app.server, error })
  }

  /** The group rejects with the error of the function that failed first: this one is another's, often a consequence of the abort. */
  groupErrorFurther (error: unknown): void {
    logSafely(this.#app.log, 'debug', { err: error }, 'another function of a group that has failed has failed too')
  }

  groupLeaked (group: Unfinished): void {
    logSafely(this.#app.log, 'warn', { group }, 'functions of a group ignore its signal and run on; a shutdown does not wait for them any more')
  }

  #log ({ id, attempts, reqId }: Task, level: 'debug' | 'info' | 'warn' | 'error', message: string, details: object): void {
    logSafely(this.#app.log, level, { task: id, attempt: attempts, reqId, ...details }, message)
  }

  #publish<Message extends TaskMessage> (channel: TypedChannel<Message>, id: string, details: Details<Message>): void {
    if (channel.hasSubscribers) channel.publish({ server: this.#app.server, kind: 'task', name: nameOf(id), id, ...details } as Message)
  }
}
