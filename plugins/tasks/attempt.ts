/**
 * One run of a task's function: what the function gets, its signal, and whether it heeds that.
 *
 * JavaScript can't stop a function. So an aborted attempt still counts as running until the function settles, and if it
 * succeeds after all, it has succeeded: an email that was sent isn't sent again. Only a function that hasn't settled `grace`
 * ms after its signal is given up as leaked.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { Task } from './task.ts'

export interface TaskContext {
  readonly id: string
  /** The part of the id before the first colon. */
  readonly name: string
  /** 1, then 2, … */
  readonly attempt: number
  /** Aborts at the deadline, and when the task is cancelled, replaced, or given up by a shutdown. Never with the request. */
  readonly signal: AbortSignal
  /** When this attempt is aborted: epoch ms, or Infinity. */
  readonly deadline: number
  /** The app's logger, with the task's id and its request's. */
  readonly log: FastifyBaseLogger
}

// The class is what functions get: its own state is private, and what is seldom read is made when first read.
export class Attempt implements TaskContext {
  readonly #task: Task
  readonly #logger: FastifyBaseLogger
  readonly #timeoutAt: number
  readonly attempt: number
  #controller: AbortController | undefined
  #log: FastifyBaseLogger | undefined
  #aborted = false
  #reason: Error | undefined

  constructor (task: Task, logger: FastifyBaseLogger) {
    this.#task = task
    this.#logger = logger
    this.#timeoutAt = task.dueAt
    this.attempt = task.attempts
  }

  get id (): string { return this.#task.id }
  get name (): string { return this.#task.name }

  get deadline (): number {
    return this.#timeoutAt === Infinity ? Infinity : Math.round(performance.timeOrigin + this.#timeoutAt)
  }

  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#aborted) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  get log (): FastifyBaseLogger {
    const { id, reqId } = this.#task
    this.#log ??= this.#logger.child(reqId === undefined ? { task: id } : { task: id, reqId })
    return this.#log
  }

  /** Why it was aborted, if it was. @internal */
  static reasonOf (attempt: Attempt): Error | undefined {
    return attempt.#reason
  }

  /** The first reason holds. @internal */
  static abort (attempt: Attempt, reason: Error): void {
    if (attempt.#aborted) return
    attempt.#aborted = true
    attempt.#reason = reason
    attempt.#controller?.abort(reason)
  }
}
