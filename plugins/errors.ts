/**
 * Every coded error of the suite. A new instance each throw; the original, if any, in `cause`.
 *
 * A refusal (503, 429) is answered once per refused request, at the worst moment to spend time: it captures no stack.
 * It explains its arithmetic in fields, for the log, and not in its message, which clients see.
 */
import { createError } from '@fastify/error'

/** Thrown at boot. */
export const OptionInvalidError = createError<[option: string, expected: string, received: string]>(
  'FC_ERR_OPTION_INVALID', 'Option "%s": expected %s, received %s')

/** Thrown at boot: by app.ready(), app.listen() or the register call. */
export const JobsInvalidError = createError<[what: string, options?: ErrorOptions]>('FC_ERR_JOBS_INVALID', '%s')

const Unknown = createError<[name: string]>('FC_ERR_JOB_UNKNOWN', 'There is no job named "%s"', 500)

export class JobUnknownError extends Unknown {
  /** The names that there are: for the log, not for the client, who sees the message. */
  readonly known: readonly string[]

  constructor (name: string, known: readonly string[]) {
    super(name)
    this.known = known
  }
}

/** Why a job was refused: too many wait, it would wait too long, it can't meet its deadline, or it waited too long. */
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
  /** When to try again, in whole seconds, from the work really ahead. */
  retryAfter: number
}

const Overloaded = createError<[name: string, retryAfter: number]>(
  'FC_ERR_WORKERS_OVERLOADED', 'The job "%s" was refused: the workers are overloaded, try again in %d s', 503, Error, false)

export class WorkersOverloadedError extends Overloaded implements Refusal {
  readonly job: string
  readonly reason: RefusalReason
  readonly waiting: number
  readonly estimatedWait: number
  readonly limit: number
  readonly retryAfter: number

  constructor (job: string, refusal: Refusal) {
    super(job, refusal.retryAfter)
    this.job = job
    this.reason = refusal.reason
    this.waiting = refusal.waiting
    this.estimatedWait = refusal.estimatedWait
    this.limit = refusal.limit
    this.retryAfter = refusal.retryAfter
  }

  /** Read by Fastify's default error handler. */
  get headers (): Record<string, string> {
    return { 'retry-after': String(this.retryAfter) }
  }
}

export const JobTimeoutError = createError<[name: string, timeout: number, where: 'queued' | 'running']>(
  'FC_ERR_JOB_TIMEOUT', 'The job "%s" passed its deadline of %d ms while %s', 504)

/** `cause` is the signal's reason. */
export const JobAbortedError = createError<[name: string, options?: ErrorOptions]>(
  'FC_ERR_JOB_ABORTED', 'The job "%s" was aborted', 499)

/** `cause` is what ended the thread. */
export const JobCrashedError = createError<[name: string, how: string, options?: ErrorOptions]>(
  'FC_ERR_JOB_CRASHED', 'The job "%s" lost its thread: %s', 500)

/** `cause` is the value that was thrown. */
export const JobThrewError = createError<[name: string, what: string, options?: ErrorOptions]>(
  'FC_ERR_JOB_THREW', 'The job "%s" threw %s, which is not an Error', 500)

/** `cause` is the DataCloneError. */
export const PayloadNotCloneableError = createError<[name: string, where: string, options?: ErrorOptions]>(
  'FC_ERR_PAYLOAD_NOT_CLONEABLE', 'The payload of job "%s" can\'t be sent to a thread: %s', 500)

/** `cause` is the DataCloneError. */
export const ResultNotCloneableError = createError<[name: string, where: string, options?: ErrorOptions]>(
  'FC_ERR_RESULT_NOT_CLONEABLE', 'The result of job "%s" can\'t be sent back from its thread: %s', 500)

// The limiter.

const Limited = createError<[message: string]>('FC_ERR_LIMITED', '%s', 429, Error, false)

export function limitedMessage (policy: string | undefined, retryAfter: number): string {
  return `${policy === undefined ? 'Too many requests' : `The limit "${policy}" is used up`}, try again in ${retryAfter} s`
}

/** A policy's bucket doesn't hold what was asked of it. */
export class LimitedError extends Limited {
  /** Undefined for a policy that isn't exposed. */
  readonly policy: string | undefined
  /** When the same would be granted, in whole seconds, if nobody else takes tokens; never too early. */
  readonly retryAfter: number

  constructor (policy: string | undefined, retryAfter: number) {
    super(limitedMessage(policy, retryAfter))
    this.policy = policy
    this.retryAfter = retryAfter
  }

  /** Read by Fastify's default error handler. */
  get headers (): Record<string, string> {
    return { 'retry-after': String(this.retryAfter), 'cache-control': 'no-store' }
  }
}

const KeyMissing = createError<[message: string]>('FC_ERR_LIMIT_KEY_MISSING', '%s', 401, Error, false)

/** The request lacks what the policy limits by: an API key, a user. */
export class LimitKeyMissingError extends KeyMissing {
  /** @param policy undefined for a policy that isn't exposed */
  constructor (policy: string | undefined) {
    super(policy === undefined ? 'The request has no key to limit it by' : `The request has no key for the limit "${policy}"`)
  }
}

const StoreAway = createError<[options: ErrorOptions]>(
  'FC_ERR_LIMITER_STORE', 'The limits can\'t be checked now', 503, Error, false)

/** The store can't be reached and the policy says `onStoreError: 'closed'`. `cause` is the store's error. */
export class LimiterStoreError extends StoreAway {
  readonly policy: string

  constructor (policy: string, options: ErrorOptions) {
    super(options)
    this.policy = policy
  }

  /** Read by Fastify's default error handler. */
  get headers (): Record<string, string> {
    return { 'retry-after': '1', 'cache-control': 'no-store' }
  }
}

/** A policy's function gave something that can't be used, for one request: a key that is an object, a rate that is no number. */
export const LimitInvalidError = createError<[policy: string, what: string, expected: string, received: string]>(
  'FC_ERR_LIMIT_INVALID', 'The limit "%s" was given a wrong %s: expected %s, received %s', 500)

export const LimitUnknownError = createError<[name: string, known: string]>(
  'FC_ERR_LIMIT_UNKNOWN', 'There is no policy named "%s"; the limiter has %s', 500)

const WaitersFull = createError<[policy: string]>(
  'FC_ERR_LIMIT_WAITERS_FULL', 'Too many already wait for the limit "%s"', 503, Error, false)

/** `limiter.wait()`: as many wait as may. */
export class LimitWaitersFullError extends WaitersFull {
  readonly policy: string
  readonly waiting: number
  readonly retryAfter: number

  constructor (policy: string, waiting: number, retryAfter: number) {
    super(policy)
    this.policy = policy
    this.waiting = waiting
    this.retryAfter = retryAfter
  }

  /** Read by Fastify's default error handler. */
  get headers (): Record<string, string> {
    return { 'retry-after': String(this.retryAfter) }
  }
}

/** `limiter.wait()`: `cause` is the signal's reason. */
export const LimitWaitAbortedError = createError<[policy: string, options?: ErrorOptions]>(
  'FC_ERR_LIMIT_WAIT_ABORTED', 'Waiting for the limit "%s" was aborted', 499, Error, false)

const Closing = createError<[what: string]>('FC_ERR_CLOSING', '%s is closing and takes no new work', 503, Error, false)

export class ClosingError extends Closing {
  /** Read by Fastify's default error handler: the client should look for another server. */
  get headers (): Record<string, string> {
    return { connection: 'close' }
  }
}

// ---- tasks and groups

/** The arithmetic behind a refused task. */
export interface TasksFull {
  running: number
  /** Tasks waiting for a slot, a delay or a retry, and reserved places. */
  waiting: number
  /** The bound that was met: of tasks held, or of callers that wait for room. */
  limit: number
  /** When to try again, in whole seconds, from the work really ahead. */
  retryAfter: number
}

const Full = createError<[retryAfter: number]>(
  'FC_ERR_TASKS_FULL', 'There is no room for another task, try again in %d s', 503, Error, false)

export class TasksFullError extends Full implements TasksFull {
  readonly running: number
  readonly waiting: number
  readonly limit: number
  readonly retryAfter: number

  constructor (full: TasksFull) {
    super(full.retryAfter)
    this.running = full.running
    this.waiting = full.waiting
    this.limit = full.limit
    this.retryAfter = full.retryAfter
  }

  /** Read by Fastify's default error handler. */
  get headers (): Record<string, string> {
    return { 'retry-after': String(this.retryAfter) }
  }
}

/** The reason of the task's signal, and what its handle rejects with. `cause` is what the task then threw, if it did. */
export const TaskTimeoutError = createError<[id: string, timeout: number, options?: ErrorOptions]>(
  'FC_ERR_TASK_TIMEOUT', 'The task "%s" passed its deadline of %d ms', 504)

/** The reason of the task's signal, and what its handle rejects with. */
export const TaskAbortedError = createError<[id: string, why: string, options?: ErrorOptions]>(
  'FC_ERR_TASK_ABORTED', 'The task "%s" was %s', 499)

/** `cause` is the value that was thrown. */
export const TaskThrewError = createError<[id: string, what: string, options?: ErrorOptions]>(
  'FC_ERR_TASK_THREW', 'The task "%s" threw %s, which is not an Error', 500)

export const TaskDuplicateError = createError<[id: string]>(
  'FC_ERR_TASK_DUPLICATE', 'A task "%s" is waiting or running already', 409)

export const TaskUnknownError = createError<[name: string, known: string]>(
  'FC_ERR_TASK_UNKNOWN', 'There is no task named "%s"; defined are %s', 500)

export const TaskPayloadError = createError<[name: string, what: string]>(
  'FC_ERR_TASK_PAYLOAD', 'The payload of task "%s" %s', 500)

export const PlaceUsedError = createError<[]>(
  'FC_ERR_PLACE_USED', 'This reserved place was used or given back already', 500)

export const GroupEndedError = createError<[]>(
  'FC_ERR_GROUP_ENDED', 'The group has ended: go() after wait() would start work that nobody waits for', 500)

// ---- refusals

const refusalCodes = new Set([
  'FC_ERR_WORKERS_OVERLOADED', 'FC_ERR_CLOSING', 'FC_ERR_LIMITED', 'FC_ERR_LIMIT_KEY_MISSING', 'FC_ERR_LIMITER_STORE', 'FC_ERR_LIMIT_WAITERS_FULL',
  'FC_ERR_TASKS_FULL'
])

/** A refusal is the service working as it should: logged sampled, never as an error with a stack. */
export function isRefusal (error: unknown): boolean {
  return error instanceof Error && refusalCodes.has((error as { code?: unknown }).code as string)
}
