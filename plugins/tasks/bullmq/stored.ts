/** How tasks, their results and their errors are written to Redis and read back. */
import type { Job, JobsOptions } from 'bullmq'
import type { TraceCarrier } from '../../../workers/protocol.ts'
import { TaskAbortedError, TaskCrashedError, TaskTimeoutError } from '../../shared/errors.ts'
import type { NamedTask } from '../named/engine.ts'
import type { TaskOptions } from '../task-options.ts'
import { read } from '../thrown.ts'

/** The stack traces that are kept of one task, so that a task with many retries stays small. */
const STACKS = 3

/**
 * The data of a BullMQ job: what its own id, and the definition of its name, don't say. Small, because Redis and both
 * processes copy it.
 */
export interface StoredTask {
  /** The id that the caller chose, after the name and a colon. */
  id?: string
  /** Absent if the payload is undefined. */
  payload?: unknown
  /** If it is not the definition's. Null if the task has none. */
  timeout?: number | null
  /** If it is not the definition's. */
  backoff?: TaskOptions['backoff']
  reqId?: string
  /** The trace in which the task was enqueued. */
  carrier?: TraceCarrier
  cancelled?: true
  /** Whose task it is, if its name has a bound by key, and the key isn't the name. */
  key?: string
  /** Whether it was stored with a delay that isn't the caller's: see KeyPermits. */
  parked?: true
}

/** @param defaults the options of the definition */
export function toStored ({ id, isIdChosen, payload, options, reqId, carrier }: StoredFields,
  defaults: TaskOptions): StoredTask {
  const stored: StoredTask = {}
  if (isIdChosen === true && id !== undefined) stored.id = id
  if (payload !== undefined) stored.payload = payload
  if (options.timeout !== defaults.timeout) stored.timeout = options.timeout === Infinity ? null : options.timeout
  const { base, max } = options.backoff
  if (base !== defaults.backoff.base || max !== defaults.backoff.max) stored.backoff = options.backoff
  if (reqId !== undefined) stored.reqId = String(reqId)
  if (carrier !== undefined) stored.carrier = carrier
  return stored
}

/** Returns the data of a job, which may not be of this suite, as far as it can be used. */
export function toStoredTask (data: unknown): StoredTask {
  return typeof data === 'object' && data !== null ? data : {}
}

type StoredFields = { payload: unknown, options: TaskOptions } & Partial<Pick<NamedTask,
  'id' | 'isIdChosen' | 'reqId' | 'carrier'>>

/** Returns the options of a run. They are the definition's in this process, unless the call had others. */
export function toOptions ({ timeout, backoff }: StoredTask, attempts: number | undefined,
  defaults: TaskOptions): TaskOptions {
  const retries = (attempts ?? 1) - 1
  if (timeout === undefined && backoff === undefined && retries === defaults.retries) return defaults
  return {
    ...defaults,
    timeout: timeout === null
      ? Infinity
      : timeout ?? defaults.timeout,
    backoff: backoff ?? defaults.backoff,
    retries
  }
}

/**
 * BullMQ's own backoff can't obey retryIf and Retry-After. A strategy of ours takes the delay from the error: see
 * `Failure`.
 */
export function toRetryOptions ({ retries }: TaskOptions): Pick<JobsOptions,
  'attempts' | 'backoff' | 'stackTraceLimit'> {
  return retries > 0 ? { attempts: retries + 1, backoff: { type: 'fastify-concurrency' }, stackTraceLimit: STACKS } : {}
}

export function idOf (name: string, data: StoredTask, jobId: string): string {
  return data.id ?? `${name}:${jobId}`
}

/** The ids of jobs: a UUID, BullMQ's own for a run of a schedule, or a number if others have added the job. */
const JOB_ID = /^(?:[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}|repeat:[^:]+:\d+|\d+)$/

/** Tells whether a text can be the id of a job. Others may name keys of BullMQ's own, such as `meta`. */
export function isJobId (text: string): boolean {
  return JOB_ID.test(text)
}

/** Names a job among those of all tasks: two schedules that are due at the same moment have jobs of the same id. */
export function keyOf ({ queueName, id }: Pick<Job, 'queueName' | 'id'>): string {
  return `${queueName}:${id}`
}

/** A message that BullMQ takes for a command to run the task again at once. */
const COMMAND = 'bullmq:rateLimitExceeded'

/**
 * Failure is what the processor throws: BullMQ stores its message and stack. An error of the application isn't thrown
 * as it is, because BullMQ takes some names of errors for commands.
 */
export class Failure extends Error {
  /** How many ms to wait for the next attempt; -1 if there is none. */
  readonly delay: number

  constructor (error: Error, delay: number) {
    const message = textOf(error, 'message')
    super(message === COMMAND ? `${message} ` : message)
    this.delay = delay
    const name = textOf(error, 'name') || 'Error'
    const code = read(error, 'code')
    const [, frames = ''] = /^.*?(\n {4}at [^]*)$/s.exec(textOf(error, 'stack')) ?? []
    this.stack = `${name}${typeof code === 'string' && code !== '' ? ` [${code}]` : ''}: ${this.message}${frames}`
  }
}

function textOf (error: Error, field: 'message' | 'name' | 'stack'): string {
  const text = read(error, field)
  return typeof text === 'string' ? text : ''
}

/** The classes by which the suite's own errors are known again. */
const ours: Readonly<Record<string, { prototype: Error }>> = {
  FC_ERR_TASK_TIMEOUT: TaskTimeoutError, FC_ERR_TASK_ABORTED: TaskAbortedError, FC_ERR_TASK_CRASHED: TaskCrashedError
}

/**
 * Returns the error of a task that has failed, in another process perhaps: with the name, message, code and stack that
 * it had.
 *
 * @param id of the task, which an error of the suite has as a field
 */
export function toError (message: string, stack: string | undefined, id: string): Error {
  const [, name = 'Error', code] = /^([^\s:[]+)(?: \[([^\]]+)\])?:/.exec(stack ?? '') ?? []
  const error = new Error(message)
  if (code !== undefined && ours[code] !== undefined) {
    Object.setPrototypeOf(error, ours[code].prototype)
    Object.assign(error, { id })
  }
  const fields = { name, ...code !== undefined && { code }, ...stack !== undefined && { stack } }
  for (const [field, value] of Object.entries(fields)) {
    Object.defineProperty(error, field,
      { value, writable: true, configurable: true, enumerable: field === 'code' })
  }
  return error
}
