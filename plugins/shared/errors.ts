/**
 * The coded errors of the suite. Each throw creates a new instance; the original error, if there is one, is its `cause`.
 *
 * An error explains its arithmetic in fields, for the log, and not in its message, which clients see.
 */
import { createError as createFastifyError, type FastifyErrorConstructor } from '@fastify/error'

/**
 * Creates the base class of an error. Its errors also carry the fields of http-errors, by which frameworks that handle errors themselves know
 * that status and message are meant for the client. NestJS knows Fastify's own errors by the name of their class: it would answer ours with 500.
 */
function createError<Args extends unknown[], Fields extends object = object> (code: string, message: string, statusCode = 500, hasStack = true): FastifyErrorConstructor<{ code: string } & Fields, Args> {
  const Base = createFastifyError<Args>(code, message, statusCode, Error, hasStack)
  for (const [field, value] of Object.entries({ status: statusCode, expose: true })) {
    Object.defineProperty(Base.prototype, field, { value, writable: true, configurable: true })
  }
  return Base as FastifyErrorConstructor<{ code: string } & Fields, Args>
}

/**
 * Creates the base class of an error that load, a client or a timer causes, many at once. Its stack would show nothing of the application's code
 * and cost more than the refusal that it reports, so `stack` is the line of the message alone.
 */
function withoutStack<Args extends unknown[], Fields extends object = object> (code: string, message: string, statusCode: number): FastifyErrorConstructor<{ code: string } & Fields, Args> {
  const Base = createError<Args, Fields>(code, message, statusCode, false)
  Object.defineProperty(Base.prototype, 'stack', {
    get (this: Error) { return `${this.name}: ${this.message}` },
    set (this: Error, stack: unknown) { Object.defineProperty(this, 'stack', { value: stack, writable: true, configurable: true }) },
    configurable: true
  })
  return Base
}

const kRefusal = Symbol.for('fastify-concurrency.refusal')

interface RefusalHeaders {
  /** Read by Fastify's default error handler. */
  readonly headers: Record<string, string>
}

/**
 * Creates the base class of a refusal. A refusal with a `retryAfter` has the Retry-After header.
 *
 * @param headers the further headers of the answer
 */
function refusal<Args extends unknown[], Fields extends object = object> (code: string, message: string, statusCode: number, headers: Record<string, string> = {}): FastifyErrorConstructor<{ code: string } & Fields & RefusalHeaders, Args> {
  const Base = withoutStack<Args, Fields & RefusalHeaders>(code, message, statusCode)
  Object.defineProperty(Base.prototype, kRefusal, { value: true })
  Object.defineProperty(Base.prototype, 'headers', {
    get (this: { retryAfter?: number }) {
      return this.retryAfter === undefined ? headers : { 'retry-after': String(this.retryAfter), ...headers }
    }
  })
  return Base
}

/** Tells whether the service refused work as designed: such an error is sampled in the log, and never logged as an error with a stack. */
export function isRefusal (error: unknown): boolean {
  return error instanceof Error && kRefusal in error
}

/** Thrown at boot. */
export class OptionInvalidError extends createError<[option: string, expected: string, received: string]>(
  'FC_ERR_OPTION_INVALID', 'Option "%s": expected %s, received %s') {}

/** A part of the suite was used that is not registered. */
export class PartMissingError extends createError<[part: string, options: string]>(
  'FC_ERR_PART_MISSING', 'app.%s is not registered: register fastify-concurrency with %s') {}

/** Thrown at boot: by app.ready(), app.listen() or the register call. */
export class JobsInvalidError extends createError<[what: string, options?: ErrorOptions]>(
  'FC_ERR_JOBS_INVALID', '%s') {}

interface UnknownJob {
  /** The names of the jobs that exist. They are for the log, and not in the message, which clients see. */
  readonly known: readonly string[]
}

const Unknown = createError<[name: string], UnknownJob>('FC_ERR_JOB_UNKNOWN', 'There is no job named "%s"')

export class JobUnknownError extends Unknown {
  constructor (name: string, known: readonly string[]) {
    super(name)
    Object.assign(this, { known })
  }
}

/**
 * Why a job was refused.
 * - `count`: as many jobs wait as may wait (`maxQueue`).
 * - `wait`: on arrival, the job would have waited too long.
 * - `deadline`: the job could not have met its deadline.
 * - `shed`: the job was admitted, and then waited too long.
 */
export type RefusalReason = 'count' | 'wait' | 'deadline' | 'shed'

/** The arithmetic behind a refusal. */
export interface Refusal {
  reason: RefusalReason
  /** Jobs waiting when it was refused. */
  waiting: number
  /** How long the job would have waited, or did wait, in ms. */
  estimatedWait: number
  /** The bound that it met: a count for `count`, ms for the others. */
  limit: number
  /** When to try again, in whole seconds, computed from the work ahead. */
  retryAfter: number
}

const Overloaded = refusal<[name: string, retryAfter: number], Readonly<Refusal> & { readonly job: string }>(
  'FC_ERR_WORKERS_OVERLOADED', 'The job "%s" was refused: the workers are overloaded, try again in %d s', 503)

export class WorkersOverloadedError extends Overloaded {
  constructor (job: string, refusal: Refusal) {
    super(job, refusal.retryAfter)
    Object.assign(this, { job, ...refusal })
  }
}

interface Unavailability {
  /** The time until the next start of a thread has been tried, in whole seconds. */
  readonly retryAfter: number
}

const Unavailable = refusal<[name: string, options?: ErrorOptions], Unavailability>(
  'FC_ERR_WORKERS_UNAVAILABLE', 'The job "%s" was refused: no worker thread can be started', 503)

/** No worker thread has started for some seconds; the log has a line for each failed start. `cause` is why the last start failed. */
export class WorkersUnavailableError extends Unavailable {
  constructor (name: string, retryAfter: number, options?: ErrorOptions) {
    super(name, options)
    Object.assign(this, { retryAfter })
  }
}

export class JobTimeoutError extends withoutStack<[name: string, timeout: number, where: 'queued' | 'running']>(
  'FC_ERR_JOB_TIMEOUT', 'The job "%s" passed its deadline of %d ms while %s', 504) {}

/** `cause` is the signal's reason. */
export class JobAbortedError extends withoutStack<[name: string, options?: ErrorOptions]>(
  'FC_ERR_JOB_ABORTED', 'The job "%s" was aborted', 499) {}

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

interface Limit {
  /** Undefined for a policy that isn't exposed. */
  readonly policy: string | undefined
  /** When the same charge would be granted, in whole seconds, if nobody else takes tokens; never too early. */
  readonly retryAfter: number
}

const Limited = refusal<[message: string], Limit>('FC_ERR_LIMITED', '%s', 429, { 'cache-control': 'no-store' })

export function limitedMessage (policy: string | undefined, retryAfter: number): string {
  return `${policy === undefined ? 'Too many requests' : `The limit "${policy}" is used up`}, try again in ${retryAfter} s`
}

/** A policy's bucket doesn't hold what was asked of it. */
export class LimitedError extends Limited {
  constructor (policy: string | undefined, retryAfter: number) {
    super(limitedMessage(policy, retryAfter))
    Object.assign(this, { policy, retryAfter })
  }
}

const KeyMissing = refusal<[message: string]>('FC_ERR_LIMIT_KEY_MISSING', '%s', 401)

/** The request lacks what the policy limits by: an API key, a user. */
export class LimitKeyMissingError extends KeyMissing {
  /** @param policy undefined for a policy that isn't exposed */
  constructor (policy: string | undefined) {
    super(policy === undefined ? 'The request has no valid key to limit it by' : `The request has no valid key for the limit "${policy}"`)
  }
}

const StoreAway = refusal<[options: ErrorOptions], { readonly policy: string }>(
  'FC_ERR_LIMITER_STORE', 'The limits can\'t be checked now', 503, { 'retry-after': '1', 'cache-control': 'no-store' })

/** The store can't be reached and the policy says `onStoreError: 'closed'`. `cause` is the store's error. */
export class LimiterStoreError extends StoreAway {
  constructor (policy: string, options: ErrorOptions) {
    super(options)
    Object.assign(this, { policy })
  }
}

/** For one request, a policy's function gave something that can't be used, or threw it (`cause`): a key that is an object, a rate that is no number. */
export class LimitInvalidError extends createError<[policy: string, what: string, expected: string, received: string, options?: ErrorOptions]>(
  'FC_ERR_LIMIT_INVALID', 'The limit "%s" was given a wrong %s: expected %s, received %s') {}

export class LimitUnknownError extends createError<[name: string, known: string]>(
  'FC_ERR_LIMIT_UNKNOWN', 'There is no policy named "%s"; the limiter has %s') {}

interface FullWait {
  readonly policy: string
  readonly waiting: number
  readonly retryAfter: number
}

const WaitersFull = refusal<[policy: string], FullWait>('FC_ERR_LIMIT_WAITERS_FULL', 'Too many already wait for the limit "%s"', 503)

/** `limiter.wait()`: as many wait as may. */
export class LimitWaitersFullError extends WaitersFull {
  constructor (policy: string, waiting: number, retryAfter: number) {
    super(policy)
    Object.assign(this, { policy, waiting, retryAfter })
  }
}

/** `limiter.wait()`: `cause` is the signal's reason. */
export class LimitWaitAbortedError extends withoutStack<[policy: string, options?: ErrorOptions]>(
  'FC_ERR_LIMIT_WAIT_ABORTED', 'Waiting for the limit "%s" was aborted', 499) {}

/** Its header tells the client to look for another server. */
export class ClosingError extends refusal<[what: string]>(
  'FC_ERR_CLOSING', '%s is closing and takes no new work', 503, { connection: 'close' }) {}

// Tasks and groups.

/** The arithmetic behind a refused task. */
export interface TasksFull {
  running: number
  /** Tasks waiting for a slot, a delay or a retry, and reserved places. */
  waiting: number
  /** How many tasks may be held. */
  limit: number
  /** When to try again, in whole seconds, computed from the work ahead. */
  retryAfter: number
}

const Full = refusal<[retryAfter: number], Readonly<TasksFull>>('FC_ERR_TASKS_FULL', 'There is no place for another task, try again in %d s', 503)

export class TasksFullError extends Full {
  constructor (full: TasksFull) {
    super(full.retryAfter)
    Object.assign(this, full)
  }
}

/** The reason of the task's signal, and what its handle rejects with. `cause` is what the task then threw, if it did. */
export class TaskTimeoutError extends withoutStack<[id: string, timeout: number, options?: ErrorOptions]>(
  'FC_ERR_TASK_TIMEOUT', 'The task "%s" passed its deadline of %d ms', 504) {}

/** The reason of the task's signal, and what its handle rejects with. */
export class TaskAbortedError extends withoutStack<[id: string, why: string, options?: ErrorOptions]>(
  'FC_ERR_TASK_ABORTED', 'The task "%s" was aborted: %s', 499) {}

/** `cause` is the value that was thrown. */
export class TaskThrewError extends createError<[id: string, what: string, options?: ErrorOptions]>(
  'FC_ERR_TASK_THREW', 'The task "%s" threw %s, which is not an Error') {}

export class TaskDuplicateError extends createError<[id: string]>(
  'FC_ERR_TASK_DUPLICATE', 'A task "%s" is waiting or running already', 409) {}

export class TaskUnknownError extends createError<[name: string, known: string]>(
  'FC_ERR_TASK_UNKNOWN', 'There is no task named "%s"; defined are %s') {}

/** `cause` is what a getter of the payload, or its schema, has thrown. */
export class TaskPayloadError extends createError<[name: string, what: string, options?: ErrorOptions]>(
  'FC_ERR_TASK_PAYLOAD', 'The payload of task "%s" %s') {}

export class PlaceUsedError extends createError<[]>(
  'FC_ERR_PLACE_USED', 'This reserved place was used or given back already') {}

export class GroupEndedError extends createError<[]>(
  'FC_ERR_GROUP_ENDED', 'The group has ended: go() after wait() would start work that nobody waits for') {}

/** The reason of a group's signal, if the request in which the group was made has been answered. */
export class RequestEndedError extends withoutStack<[]>(
  'FC_ERR_REQUEST_ENDED', 'The request has been answered, which aborts its groups: await wait(), map() or race() before the answer, or make the group with { detached: true }', 500) {}

// ---- locks

const LockTimeout = refusal<[kind: string, timeout: number]>('FC_ERR_LOCK_TIMEOUT', 'Waiting for a %s took longer than %d ms', 503)

/** A lock was not free in time. Clients don't see its key. */
export class LockTimeoutError extends LockTimeout {
  readonly kind: string
  readonly key: string
  readonly timeout: number
  /** Where the lock's holder asked for it, if somebody holds it: for the log. */
  readonly holder: string | undefined
  readonly retryAfter = 1

  constructor (kind: string, key: string, timeout: number, holder: string | undefined) {
    super(kind, timeout)
    this.kind = kind
    this.key = key
    this.timeout = timeout
    this.holder = holder
  }
}

const LockQueueFull = refusal<[kind: string]>('FC_ERR_LOCK_QUEUE_FULL', 'Too many already wait for a %s', 503)

/** As many callers wait for the lock, or for all locks, as may; or `once()` remembers as many results as it may. */
export class LockQueueFullError extends LockQueueFull {
  readonly kind: string
  readonly key: string
  /** The bound that was met. */
  readonly limit: number
  readonly retryAfter = 1

  constructor (kind: string, key: string, limit: number) {
    super(kind)
    this.kind = kind
    this.key = key
    this.limit = limit
  }
}

/** The running code holds the lock, and would wait for itself. */
export class LockReenteredError extends createError<[kind: string, key: string]>(
  'FC_ERR_LOCK_REENTERED', 'The %s "%s" is held by the code that asks for it, which would wait for itself') {}

/** `cause` is the signal's reason. */
export class LockAbortedError extends withoutStack<[kind: string, options?: ErrorOptions]>(
  'FC_ERR_LOCK_ABORTED', 'Waiting for a %s was aborted', 499) {}

// ---- race

/** Rejects `app.close()` of an app with the race detector's `fail`. The message has the reports. */
export class RaceError extends createError<[count: number, reports: string]>('FC_ERR_RACE', 'Requests of this app raced, in %d places:\n%s') {}

/** The first order of an exploration in which the invariant threw, which is the `cause`, or in which requests raced. RACE_SEED tries it again. */
export class ExploreError extends createError<[seed: number, why: string, options?: ErrorOptions]>('FC_ERR_EXPLORE', 'With seed %d: %s') {}
