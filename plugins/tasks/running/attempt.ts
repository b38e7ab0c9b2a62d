/**
 * Attempt is one run of a task's function: its deadline, its signal, and the context that the function gets.
 *
 * JavaScript can't stop a function. So an aborted attempt still counts as running until the function settles, and if
 * the function succeeds after all, the task has succeeded: an email that was sent isn't sent again.
 */
import type { FastifyBaseLogger } from 'fastify'
import { currentPart, runWork, Work } from '../../cancellation/ambient.ts'
import type { DenseSetMember } from '../../shared/collections/dense-set.ts'
import type { Task, TaskContext } from '../task.ts'
import type { TaskLedger } from '../ledger.ts'

/** Returns the attempt that the running code is part of. */
export function currentAttempt (): Attempt | undefined {
  const part = currentPart()
  return part instanceof Attempt ? part : undefined
}

/** Returns the id of the current request, in a task that of the request which the task comes from. */
export function currentReqId (): string | undefined {
  const part = currentPart()
  if (part instanceof Attempt) return part.task.reqId
  return part instanceof Work ? undefined : part?.id
}

export class Attempt extends Work implements TaskContext, DenseSetMember {
  denseIndex = -1
  readonly attempt: number
  readonly startedAt: number
  /**
   * When the time of the attempt is over, on the runner's clock. Once the attempt is aborted: when its grace period is
   * over.
   */
  dueAt: number
  readonly #task: Task
  readonly #ledger: TaskLedger
  readonly #logger: FastifyBaseLogger
  #controller: AbortController | undefined
  #log: FastifyBaseLogger | undefined
  #reason: Error | undefined

  constructor (task: Task, now: number, ledger: TaskLedger, logger: FastifyBaseLogger) {
    super()
    this.attempt = task.attempts
    this.startedAt = now
    this.dueAt = now + task.options.timeout
    this.#task = task
    this.#ledger = ledger
    this.#logger = logger
  }

  get task (): Task { return this.#task }
  get id (): string { return this.#task.id }
  get name (): string { return this.#task.name }
  get idempotencyKey (): string { return this.#task.idempotencyKey }
  /** Why the attempt was aborted, if it was. */
  get reason (): Error | undefined { return this.#reason }

  get deadline (): number {
    const { timeout } = this.#task.options
    return timeout === Infinity ? Infinity : Math.round(performance.timeOrigin + this.startedAt + timeout)
  }

  /** The controller is created when the signal is first read, as is the logger: most functions read neither. */
  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  get log (): FastifyBaseLogger {
    const { id, reqId } = this.#task
    this.#log ??= this.#logger.child(reqId === undefined ? { task: id } : { task: id, reqId })
    return this.#log
  }

  /**
   * Calls the task's function in the async context of its submitter, but outside the request: a disconnect must not
   * abort its jobs.
   */
  call (): unknown {
    return this.#task.callInContext(runWork<Attempt, unknown>, this, call)
  }

  get ledger (): TaskLedger { return this.#ledger }

  /** Aborts the signal. The first reason holds, and a further call gives the function no more time. */
  abort (reason: Error, graceEndsAt: number): void {
    this.dueAt = this.#reason === undefined ? graceEndsAt : Math.min(this.dueAt, graceEndsAt)
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#controller?.abort(reason)
  }
}

/**
 * Calls the function. A thenable that it returns may run a query at each call of `then`, or settle twice;
 * Promise.resolve() calls `then` once.
 */
function call (attempt: Attempt): unknown {
  const result = attempt.ledger.call(attempt.task, attempt)
  const isObject = (typeof result === 'object' && result !== null) || typeof result === 'function'
  return isObject ? Promise.resolve(result) : result
}
