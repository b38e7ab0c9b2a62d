/**
 * The coded errors of the suite. Each throw creates a new instance; the original error, if there is one, is its
 * `cause`.
 *
 * An error explains its arithmetic in fields, for the log, and not in its message, which clients see.
 */
import { createError, createRefusal, withoutStack } from './coded-error.ts'
import { nameOf } from './describe.ts'
import { OperatorCancelError } from './operator-cancel.ts'

/** Creates an error about a name. The names that exist are for the log, and not in the message, which clients see. */
const unknownName = (code: string, what: string) =>
  createError<[name: string, known: readonly string[]], { known: readonly string[] }>(
    code, (name) => `There is no ${what} named "${nameOf(name)}"`, 500, (_name, known) => ({ known }))

/** Thrown at boot. */
export class OptionInvalidError extends createError<[option: string, expected: string, received: string]>(
  'FC_ERR_OPTION_INVALID', 'Option "%s": expected %s, received %s') {}

/** A part of the suite was used that is not registered. */
export class PartMissingError extends createError<[part: string, options: string]>(
  'FC_ERR_PART_MISSING', 'app.%s is not registered: register fastify-concurrency with %s') {}

/** Thrown at boot: by app.ready(), app.listen() or the register call. */
export class JobsInvalidError extends createError<[what: string, options?: ErrorOptions]>(
  'FC_ERR_JOBS_INVALID', '%s') {}

/** There is no job of this name. `known` are the names of those that exist. */
export class JobUnknownError extends unknownName('FC_ERR_JOB_UNKNOWN', 'job') {}

/**
 * Why a job was refused. The first four are decisions of admission.
 * - `count`: as many jobs wait as may wait (`maxQueue`).
 * - `wait`: on arrival, the job would have waited too long.
 * - `deadline`: the job could not have met its deadline.
 * - `shed`: the job was admitted, and then waited too long.
 * - `unavailable`: no worker thread can be started.
 * - `closing`: the application is shutting down.
 */
export const jobRefusalReasons = ['count', 'wait', 'deadline', 'shed', 'unavailable', 'closing'] as const
/** Why a job was refused: one of `count`, `wait`, `deadline`, `shed`, `unavailable` and `closing`. */
export type RefusalReason = typeof jobRefusalReasons[number]

/** Returns a count for each reason, all 0. */
export function zeroOf<Reason extends string> (reasons: readonly Reason[]): Record<Reason, number> {
  return Object.fromEntries(reasons.map((reason) => [reason, 0])) as Record<Reason, number>
}

/** The arithmetic behind a decision of admission to refuse a job. */
export interface Refusal {
  /** Which bound the job met. */
  reason: Exclude<RefusalReason, 'unavailable' | 'closing'>
  /** Jobs waiting when it was refused. */
  waiting: number
  /** How long the job would have waited, or did wait, in ms. */
  estimatedWait: number
  /** The bound that it met: a count for `count`, ms for the others. */
  limit: number
  /** When to try again, in whole seconds, computed from the work ahead. */
  retryAfter: number
}

/** Why a job was refused, and when to try again, if admission or the threads refused it. */
export type JobRefusal = Refusal | { reason: 'unavailable', retryAfter: number } | {
  reason: 'closing', retryAfter?: undefined
}

/** The job could not be served in time. The fields say why, and when to try again. */
export class WorkersOverloadedError extends createRefusal<[job: string, refusal: Refusal], Refusal & { job: string }>(
  'FC_ERR_WORKERS_OVERLOADED',
  (job, { retryAfter }) => `The job "${job}" was refused: the workers are overloaded, try again in ${retryAfter} s`,
  503,
  (job, { reason, waiting, estimatedWait, limit, retryAfter }) =>
    ({ job, reason, waiting, estimatedWait, limit, retryAfter })) {}

/**
 * No worker thread has started for some seconds; the log has a line for each failed start. `cause` is why the last
 * start failed. Within `retryAfter` seconds the next start has been tried.
 */
export class WorkersUnavailableError extends createRefusal<[job: string, retryAfter: number, options?: ErrorOptions],
  { job: string, reason: 'unavailable', retryAfter: number }>(
  'FC_ERR_WORKERS_UNAVAILABLE', (job) => `The job "${job}" was refused: no worker thread can be started`, 503,
  (job, retryAfter) => ({ job, reason: 'unavailable', retryAfter })) {}

/** The deadline of the job passed, in the queue or on a thread. */
export class JobTimeoutError extends withoutStack<[name: string, timeout: number, where: 'queued' | 'running']>(
  'FC_ERR_JOB_TIMEOUT', 'The job "%s" passed its deadline of %d ms while %s', 504) {}

/**
 * `cause` is the signal's reason. The status is 503 if an operator has cancelled the job, whose client has not left.
 */
export class JobAbortedError extends withoutStack<[name: string, options?: ErrorOptions]>(
  'FC_ERR_JOB_ABORTED', 'The job "%s" was aborted', 499) {
  constructor (name: string, options: ErrorOptions = {}) {
    super(name, options)
    if (options.cause instanceof OperatorCancelError) Object.assign(this, { statusCode: 503 })
  }
}

/** `cause` is what ended the thread. */
export class JobCrashedError extends createError<[name: string, how: string, options?: ErrorOptions]>(
  'FC_ERR_JOB_CRASHED', 'The job "%s" lost its thread: %s') {}

/** `cause` is the value that was thrown. */
export class JobThrewError extends createError<[name: string, what: string, options?: ErrorOptions]>(
  'FC_ERR_JOB_THREW', 'The job "%s" threw %s, which is not an Error') {}

/** `cause` is the DataCloneError. */
export class PayloadNotCloneableError extends createError<[name: string, where: string, options?: ErrorOptions]>(
  'FC_ERR_PAYLOAD_NOT_CLONEABLE', 'The payload of job "%s" can\'t be sent to a thread: %s') {}

/** `cause` is the DataCloneError. */
export class ResultNotCloneableError extends createError<[name: string, where: string, options?: ErrorOptions]>(
  'FC_ERR_RESULT_NOT_CLONEABLE', 'The result of job "%s" can\'t be sent back from its thread: %s') {}

// The limiter.

export function limitedMessage (policy: string | undefined, retryAfter: number): string {
  return `${policy === undefined ? 'Too many requests' : `The limit "${policy}" is used up`}, try again in ${retryAfter} s`
}

/**
 * A policy's bucket doesn't hold what was asked of it. `policy` is undefined for a policy that isn't exposed. In
 * `retryAfter` whole seconds the same charge would be granted, if nobody else takes tokens; never too early.
 * `lockedOut` tells that a lockout of the policy refused, and not its bucket.
 */
export class LimitedError extends createRefusal<[policy: string | undefined, retryAfter: number, lockedOut?: boolean],
  { policy: string | undefined, retryAfter: number, lockedOut: boolean }>(
  'FC_ERR_LIMITED', limitedMessage, 429, (policy, retryAfter, lockedOut = false) => ({ policy, retryAfter, lockedOut }),
  { 'cache-control': 'no-store' }) {}

/**
 * The request lacks what the policy limits by: an API key, a user. `policy` is undefined for a policy that isn't
 * exposed.
 */
export class LimitKeyMissingError extends createRefusal<[policy: string | undefined]>(
  'FC_ERR_LIMIT_KEY_MISSING',
  (policy) => `The request has no valid key ${policy === undefined ? 'to limit it by' : `for the limit "${policy}"`}`,
  401) {}

/** The store can't be reached and the policy says `onStoreError: 'closed'`. `cause` is the store's error. */
export class LimiterStoreError extends createRefusal<[policy: string, options: ErrorOptions], { policy: string }>(
  'FC_ERR_LIMITER_STORE', () => 'The limits can\'t be checked at the moment', 503, (policy) => ({ policy }),
  { 'retry-after': '1', 'cache-control': 'no-store' }) {}

/**
 * For one request, a policy's function gave something that can't be used, or threw it (`cause`): a key that is an
 * object, a rate that is no number.
 */
export class LimitInvalidError extends createError<[policy: string, what: string, expected: string, received: string,
  options?: ErrorOptions]>(
  'FC_ERR_LIMIT_INVALID', 'The limit "%s" was given an invalid %s: expected %s, received %s') {}

/** There is no policy of this name. `known` are the names of those that exist. */
export class LimitUnknownError extends unknownName('FC_ERR_LIMIT_UNKNOWN', 'policy') {}

/**
 * Thrown by `limiter.wait()` when the maximum number of callers already wait. `policy` is undefined for a policy that
 * isn't exposed.
 */
export class LimitWaitersFullError extends createRefusal<
  [policy: string | undefined, waiting: number, retryAfter: number],
    { policy: string | undefined, waiting: number, retryAfter: number }
>(
  'FC_ERR_LIMIT_WAITERS_FULL',
  (policy) => `Too many calls already wait for ${policy === undefined ? 'a limit' : `the limit "${policy}"`}`, 503,
  (policy, waiting, retryAfter) => ({ policy, waiting, retryAfter })) {}

/**
 * As many run as a policy with `concurrency` allows, and the wait for one of them to end would be, or was, too long.
 * The message doesn't name the policy, which is no client's business.
 */
export class LimitBusyError extends createRefusal<[policy: string, refusal: Refusal, status?: 429 | 503],
  Refusal & { policy: string }>(
  'FC_ERR_LIMIT_BUSY', (_policy, { retryAfter }) => `Too many requests are under way, try again in ${retryAfter} s`,
  503,
  (policy, refusal, status = 503) => Object.assign({ policy, statusCode: status }, refusal)) {}

/** The client has left before its answer. The name is that of other aborted operations, such as a fetch(). */
export class ClientGoneError extends withoutStack<[], { name: string }>(
  'FC_ERR_CLIENT_GONE', () => 'The client has disconnected', 499, () => ({ name: 'AbortError' })) {}

/** `limiter.wait()`: `cause` is the signal's reason. */
export class LimitWaitAbortedError extends withoutStack<[policy: string, options?: ErrorOptions]>(
  'FC_ERR_LIMIT_WAIT_ABORTED', 'Waiting for the limit "%s" was aborted', 499) {}

/** Its header tells the client to look for another server. */
export class ClosingError extends createRefusal<[what: string, isGivenUp?: boolean], { reason: 'closing' }>(
  'FC_ERR_CLOSING',
  (what, isGivenUp) => isGivenUp === true ? `${what} is closing, and has given this work up` : `${what} is closing and accepts no new work`, 503, () => ({ reason: 'closing' }),
  { connection: 'close' }) {}

// Tasks and groups.

/**
 * Why a task was refused.
 * - `full`: there is no place for it.
 * - `store`: Redis is away, has refused it, or has not answered.
 * - `closing`: the application is shutting down.
 */
export const taskRefusalReasons = ['full', 'store', 'closing'] as const
/** Why a task was refused: `full`, `store` or `closing`. */
export type TaskRefusalReason = typeof taskRefusalReasons[number]

/** The arithmetic behind a refused task. */
export interface TasksFull {
  /** Tasks that run now. */
  running: number
  /** Tasks waiting for a slot, a delay or a retry, and reserved places. */
  waiting: number
  /** How many tasks may be held; of stored tasks, how many may wait. */
  limit: number
  /** If there are places, and none for the task's key: how many tasks of the key wait, and how many may. */
  ofKey?: { waiting: number, limit: number }
  /** When to try again, in whole seconds, computed from the work ahead; 1 for stored tasks. */
  retryAfter: number
}

/** There is no place for another task. The fields say how many there are, and when to try again. */
export class TasksFullError extends createRefusal<[full: TasksFull], TasksFull & { reason: 'full' }>(
  'FC_ERR_TASKS_FULL', ({ retryAfter }) => `There is no place for another task, try again in ${retryAfter} s`, 503,
  (full) => Object.assign({ reason: 'full' as const }, full)) {}

// The id of a task may hold an address or another client's name: it is a field of an error, and not in the message.

/**
 * The reason of the task's signal, and what its handle rejects with. `cause` is what the task then threw, if it did.
 */
export class TaskTimeoutError extends withoutStack<[id: string, timeout: number, options?: ErrorOptions],
  { id: string, timeout: number }>(
  'FC_ERR_TASK_TIMEOUT', (_id, timeout) => `A task passed its deadline of ${timeout} ms`, 504,
  (id, timeout) => ({ id, timeout })) {}

/** The reason of the task's signal, and what its handle rejects with. */
export class TaskAbortedError extends withoutStack<[id: string, why: string, options?: ErrorOptions], { id: string }>(
  'FC_ERR_TASK_ABORTED', (_id, why) => `A task was aborted: ${why}`, 499, (id) => ({ id })) {}

/** `cause` is the value that was thrown. `id` is undefined for a function of a group. */
export class TaskThrewError extends createError<[id: string | undefined, what: string, options?: ErrorOptions],
  { id: string | undefined }>(
  'FC_ERR_TASK_THREW',
  (id, what) => `A ${id === undefined ? 'function of a group' : 'task'} threw ${what}, which is not an Error`, 500,
  (id) => ({ id })) {}

/** A task with this id waits or runs already. */
export class TaskDuplicateError extends createError<[id: string], { id: string }>(
  'FC_ERR_TASK_DUPLICATE', () => 'A task with this id is waiting or running already', 409, (id) => ({ id })) {}

/** There is no task of this name. `known` are the names of those that exist. */
export class TaskUnknownError extends unknownName('FC_ERR_TASK_UNKNOWN', 'task') {}

/** `cause` is what a getter of the payload, or its schema, has thrown. */
export class TaskPayloadError extends createError<[name: string, what: string, options?: ErrorOptions]>(
  'FC_ERR_TASK_PAYLOAD', 'The payload of task "%s" %s') {}

/** What has become of a call to the store of tasks. */
const storeFailures = {
  away: 'Redis can\'t be reached, so no task was stored or changed',
  refused: 'Redis has refused the task',
  unanswered: 'Redis has not confirmed that it has stored the task'
}
type TaskStoreFailure = keyof typeof storeFailures

/**
 * Returns the word by which Redis, or Node.js, names an error: NOPERM, OOM, ECONNREFUSED. Its text may hold an address
 * or a user, and isn't for clients.
 */
function wordOf (cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined
  const { code } = cause as { code?: unknown }
  return cause.name === 'ReplyError'
    ? /^[A-Z]+(?= )/.exec(cause.message)?.[0]
    : typeof code === 'string' ? code : undefined
}

/**
 * Redis is away, has refused a command, or has been silent for `storeTimeout`. `failure` names what went wrong in a
 * word, and `cause` is the error of Redis. If `mayBeStored`, Redis was asked and has not answered: the task may run.
 * Enqueue it again under the same id, with `duplicate: 'join'`, to be sure that it runs. Clients don't see the task's
 * id.
 */
export class TaskStoreError extends createRefusal<
  [id: string, failure: TaskStoreFailure, options: ErrorOptions],
  {
    readonly id: string,
    readonly reason: 'store',
    readonly failure: string,
    readonly mayBeStored: boolean,
    readonly retryAfter: number
  }
>(
  'FC_ERR_TASK_STORE', (_id, failure) => storeFailures[failure], 503,
  (id, failure, { cause }) =>
    ({
      id, reason: 'store', failure: wordOf(cause) ?? failure, mayBeStored: failure === 'unanswered', retryAfter: 1
    })) {}

/** The processes that ran the task have ended again and again. The task is kept, and not tried again. */
export class TaskCrashedError extends createError<[id: string, times: number], { id: string, times: number }>(
  'FC_ERR_TASK_CRASHED',
  (_id, times) => `The process that ran the task has ended, or lost the task's lock, ${times === 1 ? 'once' : `${times} times`}`, 500,
  (id, times) => ({ id, times })) {}

/** No task with this id is stored, or its outcome is not kept any more. Its id may hold a client's name: see above. */
export class TaskNotFoundError extends createError<[id: string], { id: string }>(
  'FC_ERR_TASK_NOT_FOUND', () => 'No task with this id is stored', 404, (id) => ({ id })) {}

/** Only a task that has failed for the last time is retried or discarded. `state` says what the task is. */
export class TaskNotFailedError extends createError<[id: string, state: string], { id: string, state: string }>(
  'FC_ERR_TASK_NOT_FAILED', (_id, state) => `The task has not failed: it is ${state}`, 409,
  (id, state) => ({ id, state })) {}

/** The call needs tasks that are stored in Redis. */
export class TasksNotStoredError extends createError<[what: string]>(
  'FC_ERR_TASKS_NOT_STORED',
  'tasks.%s needs tasks that are stored: register fastify-concurrency with { redis }, and with { tasks: { tasks } }') {}

/** A reserved place was used, or given back, before. */
export class PlaceUsedError extends createError<[]>(
  'FC_ERR_PLACE_USED', 'This reserved place was used or given back already') {}

/** A function was given to a group that has ended. */
export class GroupEndedError extends createError<[]>(
  'FC_ERR_GROUP_ENDED', 'The group has ended: go() after wait() would start work that nobody waits for') {}

/**
 * Why the work of a request was ended, if the request has been answered: the reason of a group's signal, and the cause
 * of an aborted job or wait.
 */
export class RequestEndedError extends withoutStack<[]>(
  'FC_ERR_REQUEST_ENDED',
  'The request has been answered, which ends its jobs, waits and groups: await them before the answer, or pass { detached: true }', 500) {}

// Locks.

/**
 * Why a caller of a lock was refused.
 * - `full`: too many wait already.
 * - `timeout`: the lock was not free in time.
 * - `closing`: the application is shutting down.
 */
export const lockRefusalReasons = ['full', 'timeout', 'closing'] as const
/** Why a caller of a lock was refused: `full`, `timeout` or `closing`. */
export type LockRefusalReason = typeof lockRefusalReasons[number]

/**
 * A lock was not free in time. Clients don't see its key. `holder` is where the lock's holder asked for it, if somebody
 * holds it: for the log.
 */
export class LockTimeoutError extends createRefusal<
  [kind: string, key: string, timeout: number, holder: string | undefined],
  { reason: 'timeout', kind: string, key: string, timeout: number, holder: string | undefined, retryAfter: number }
>(
  'FC_ERR_LOCK_TIMEOUT', (kind, _key, timeout) => `Waiting for a ${kind} took longer than ${timeout} ms`, 503,
  (kind, key, timeout, holder) => ({ reason: 'timeout', kind, key, timeout, holder, retryAfter: 1 })) {}

/**
 * The most callers wait for the lock, or for all locks, already; or `once()` remembers the most results already.
 * `limit` is the bound that was met.
 */
export class LockQueueFullError extends createRefusal<[kind: string, key: string, limit: number],
  { reason: 'full', kind: string, key: string, limit: number, retryAfter: number }>(
  'FC_ERR_LOCK_QUEUE_FULL', (kind) => kind === 'once'
    ? 'Too many callers wait for once(), or it already keeps the maximum number of results'
    : `Too many callers already wait for a ${kind}`, 503,
  (kind, key, limit) => ({ reason: 'full', kind, key, limit, retryAfter: 1 })) {}

/** `cause` is the signal's reason. */
export class LockAbortedError extends withoutStack<[kind: string, options?: ErrorOptions]>(
  'FC_ERR_LOCK_ABORTED', 'Waiting for a %s was aborted', 499) {}

// The event loop.

/**
 * Why a request was refused before its handler.
 * - `count`: as many requests are held as may be held (`maxHeld`), and this one would be served last.
 * - `wait`: on arrival, the request would have waited too long.
 * - `shed`: the request was held, and then waited too long.
 */
export const loopRefusalReasons = ['count', 'wait', 'shed'] as const
/** Why a request was refused before its handler: `count`, `wait` or `shed`. */
export type LoopRefusalReason = typeof loopRefusalReasons[number]

/**
 * A request was refused, since more was asked for than the event loop can do. In `retryAfter` whole seconds the loop
 * has time for it.
 */
export class LoopOverloadedError extends createRefusal<
  [refusal: { reason: LoopRefusalReason, retryAfter: number }], { reason: LoopRefusalReason, retryAfter: number }
>(
  'FC_ERR_LOOP_OVERLOADED', ({ retryAfter }) => `The service is overloaded, try again in ${retryAfter} s`, 503,
  ({ reason, retryAfter }) => ({ reason, retryAfter })) {}

// The dashboard.

/** The dashboard doesn't answer this request. The message says what would have to hold. */
export class DashboardForbiddenError extends createError<[why: string]>('FC_ERR_DASHBOARD_FORBIDDEN',
  'The dashboard is closed to this request: %s', 403) {}

/** The page of another process has sent this request: its jobs are not those of the process that was reached. */
export class DashboardProcessError extends createError<[shown: string, reached: string]>('FC_ERR_DASHBOARD_PROCESS',
  'This page shows the process %s, and the request has reached %s: open the dashboard of one process, ' +
  'with sticky sessions or a port-forward', 409) {}
