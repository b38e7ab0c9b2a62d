/**
 * The ledger of tasks and groups: what they are counted as, and what is published, traced and logged of them. It
 * decides nothing.
 */
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { TraceCarrier } from '../../workers/protocol.ts'
import { currentRequest } from '../cancellation/index.ts'
import { countsOf, type Book, type TaskAccount } from '../core/ledger/counts.ts'
import { Ledger, refused, type How, type Levels, type Outcome } from '../core/ledger/ledger.ts'
import type { Unfinished } from '../shared/drainables.ts'
import { TaskDuplicateError, taskRefusalReasons, type TaskRefusalReason } from '../shared/errors.ts'
import { classOf, noteRefusal, refusalCounter } from '../shared/refusal-log.ts'
import { isRefusal } from '../shared/coded-error.ts'
import type { TypedChannel } from '../shared/typed-channel.ts'
import * as channels from './channels.ts'
import type { TaskMessage, TaskTrace } from './channels.ts'
import { logSafely } from '../shared/log.ts'
import { endOf, nameOf, type Attempt, type Task, type TaskEnd } from './task.ts'

type Details<Message extends TaskMessage> = Omit<Message, keyof TaskMessage>

/** What the ledger must know of a task. A stored task may end in this process without a run. */
type Recorded = Pick<Task, 'id' | 'attempts'> & Partial<Pick<Task, 'reqId' | 'trace' | 'account'>>

/** Nobody may await a task, so that its failure is an error of the service. */
const levels: Levels = {
  completed: 'debug', failed: 'error', refused: undefined, aborted: 'info', expired: 'error', crashed: 'error'
}

const ends = {
  completed: channels.taskCompleted,
  failed: channels.taskFailed,
  refused: channels.taskRefused,
  aborted: channels.taskAborted,
  expired: channels.taskFailed,
  crashed: channels.taskFailed
}

export class TaskLedger extends Ledger<Recorded> {
  readonly #app: FastifyInstance
  readonly #tasks: Book<TaskAccount>

  constructor (app: FastifyInstance) {
    super('task', ends, levels)
    this.#app = app
    this.#tasks = countsOf(app.server).tasks
  }

  /** Counts tasks from the start of the application, stored ones too. */
  totals (): Record<TaskEnd | 'retried', number> {
    const totals = { completed: 0, failed: 0, retried: 0, aborted: 0 }
    for (const { completed, failed, expired, crashed, retried, aborted } of this.#tasks.all()) {
      totals.completed += completed
      totals.failed += failed + expired + crashed
      totals.retried += retried
      totals.aborted += aborted
    }
    return totals
  }

  submitted ({ id }: { id: string }): void {
    this.accountOf({ id }).accepted++
    this.#publish(channels.taskSubmitted, id, {})
  }

  started (task: Task, waitMs: number): void {
    if (task.attempts === 1) this.accountOf(task).wait.record(waitMs)
    if (channels.taskStarted.hasSubscribers) {
      this.#publish(channels.taskStarted, task.id,
        { attempt: task.attempts, waitMs })
    }
  }

  /** Returns the trace that is to go with a task to its engine, if somebody traces tasks. */
  carrierFor (id: string): TraceCarrier | undefined {
    if (!channels.taskEnqueued.hasSubscribers) return undefined
    const message: TaskMessage & {
      carrier: TraceCarrier | undefined
    } = Object.assign(this.#identity(id), { carrier: undefined })
    channels.taskEnqueued.publish(message)
    return message.carrier
  }

  /** Calls the function of a task for an attempt. */
  call (attempt: Attempt): unknown {
    const { task } = attempt
    const { fn, carrier } = task.submission
    if (!channels.taskAttempt.hasSubscribers) return fn(attempt)
    const trace: TaskTrace = Object.assign(this.#identity(task.id),
      { attempt: task.attempts, waitMs: attempt.startedAt - task.acceptedAt, carrier, around: undefined })
    task.trace = trace
    return channels.taskAttempt.begin(trace, () => trace.around === undefined
      ? fn(attempt)
      : trace.around(() => fn(attempt)))
  }

  override ended (task: Recorded, outcome: Outcome): void {
    if (outcome.how === 'completed') this.accountOf(task).run.record(outcome.ms)
    super.ended(task, outcome)
  }

  retried (task: Task, error: Error, delayMs: number): void {
    endTrace(task, 'retried', error)
    this.#log(task, 'warn', 'task failed and will be tried again', { err: error, delayMs: Math.round(delayMs) })
    this.#again(task.id, task.attempts, error, delayMs)
  }

  /** A stored task has lost its process, or its lock, and is run again. */
  recovered (id: string, attempt: number, error: Error): void {
    logSafely(this.#app.log, 'warn', { task: id, attempt, err: error },
      'a task has lost its process and will be run again')
    this.#again(id, attempt, error, 0)
  }

  #again (id: string, attempt: number, error: Error, delayMs: number): void {
    this.accountOf({ id }).retried++
    this.#publish(channels.taskRetried, id, { attempt, error, delayMs })
  }

  retryIfFailed (task: Task, error: Error): void {
    this.#log(task, 'error', 'retryIf has failed: the task is not tried again', { err: error })
  }

  leaked (task: Task): void {
    this.#log(task, 'error',
      'the function of a task ignores its signal and runs on; the task has failed, and its slot goes to others', {})
    this.accountOf(task).leaked++
    this.#publish(channels.taskLeaked, task.id, { attempt: task.attempts })
  }

  /** A task was not accepted. The error is thrown to the caller, so it isn't logged. */
  refused (id: string, error: unknown): void {
    if (error instanceof TaskDuplicateError) {
      this.accountOf({ id }).duplicate++
      this.#publish(channels.taskDuplicate, id, {})
    }
    // A mistake of the calling code, such as an invalid option, is no refusal.
    if (!isTaskRefusal(error)) return
    noteRefusal(currentRequest(), error)
    this.ended({ id, attempts: 0 }, refused(error))
  }

  /** The promise of enqueue() was rejected, and nobody awaits it. */
  enqueueUnseen (name: string, reqId: string | undefined, err: unknown): void {
    const refused = isRefusal(err)
    // Load must not flood the log: refusals are counted into its sampled lines.
    if (refused) refusalCounter(this.#app)({ ...classOf(err as Error), task: name })
    logSafely(this.#app.log, refused
      ? 'debug'
      : 'error', { task: name, reqId, err },
    'tasks.enqueue() has failed, and nobody awaits its promise: the task was not accepted')
  }

  /** A group has failed with an error that nobody has seen. */
  groupErrorUnseen (error: unknown, log = this.#app.log): void {
    logSafely(log, 'warn', { err: error },
      'a group has failed, and nobody awaits its promise: await wait(), map() or race()')
    if (channels.groupDropped.hasSubscribers) channels.groupDropped.publish({ server: this.#app.server, error })
  }

  /**
   * The group rejects with the error of the function that failed first: this one is another's, often a consequence of
   * the abort.
   */
  groupErrorFurther (error: unknown, log = this.#app.log): void {
    logSafely(log, 'debug', { err: error }, 'another function of a group that has failed has failed too')
  }

  groupLeaked (group: Unfinished, log = this.#app.log): void {
    logSafely(log, 'warn', { group },
      'functions of a group ignore its signal and run on; a shutdown does not wait for them any more')
  }

  protected accountOf (task: Pick<Recorded, 'id' | 'account'>): TaskAccount {
    return (task.account ??= this.#tasks.of(nameOf(task.id)))
  }

  protected message ({ id, attempts: attempt }: Recorded, { how, ms: durationMs, error, reason }: Outcome): object {
    const identity = this.#identity(id)
    if (how === 'completed') return Object.assign(identity, { attempt, durationMs })
    return how === 'refused' ? Object.assign(identity, { reason, error }) : Object.assign(identity, { attempt, error })
  }

  protected endTrace (task: Recorded, { how, error }: Outcome): void {
    if (task.trace !== undefined) endTrace(task, endOf(how), error)
  }

  protected logOf (): FastifyBaseLogger {
    return this.#app.log
  }

  protected override word (how: How): string {
    return endOf(how)
  }

  protected fields ({ id, attempts, reqId }: Recorded, { how, ms, error }: Outcome): Record<string, unknown> {
    return Object.assign({ task: id, attempt: attempts, reqId },
      how === 'completed' ? { durationMs: Math.round(ms) } : { err: error })
  }

  #log ({ id, attempts, reqId }: Task, level: 'debug' | 'info' | 'warn' | 'error', message: string,
    details: object): void {
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
function endTrace (task: Pick<Recorded, 'trace'>, outcome: NonNullable<TaskTrace['outcome']>, error: unknown): void {
  const { trace } = task
  if (trace === undefined) return
  task.trace = undefined
  channels.taskAttempt.end(Object.assign(trace, { outcome, error }))
}
