/** How the wait of a caller of `run()` ends, and the error that the caller gets. */
import { uncloneablePath } from '../../workers/cloneable.ts'
import { COMPLETED, FAILED, SKIPPED, UNREADABLE, type JobOutcome } from '../../workers/protocol.ts'
import { fromWire } from '../../workers/wire-error.ts'
import {
  ClosingError, JobAbortedError, JobCrashedError, JobThrewError, JobTimeoutError, PayloadNotCloneableError, ResultNotCloneableError, WorkersOverloadedError,
  WorkersUnavailableError, type JobRefusal, type Refusal
} from '../shared/errors.ts'

/** How a caller's wait ended without a result. */
export type JobFailure =
  /** The job, or the code around it, has thrown. */
  | { readonly how: 'failed', readonly durationMs: number, readonly error: unknown }
  | { readonly how: 'refused', readonly refusal: JobRefusal, readonly error: Error }
  | { readonly how: 'aborted', readonly reason: unknown, readonly error: Error }
  | { readonly how: 'expired', readonly error: Error }
  | { readonly how: 'crashed', readonly error: Error }

/** How a caller's wait ended. The thread may still be busy with the job. */
export type JobEnd = JobFailure | { readonly how: 'completed', readonly durationMs: number, readonly value: unknown }

/** Admission has refused the job. */
export function refused (name: string, refusal: Refusal): JobFailure {
  return { how: 'refused', refusal, error: new WorkersOverloadedError(name, refusal) }
}

/** The job was admitted, and no thread can be started for it. */
export function unavailable (name: string, retryAfter: number, cause: Error): JobFailure {
  return { how: 'refused', refusal: { reason: 'unavailable', retryAfter }, error: new WorkersUnavailableError(name, retryAfter, { cause }) }
}

/** The pool is closed. */
export function closing (pool: string): JobFailure {
  return { how: 'refused', refusal: { reason: 'closing' }, error: new ClosingError(`The pool "${pool}"`) }
}

/** @param error what the caller gets, if it isn't FC_ERR_JOB_ABORTED */
export function aborted (name: string, reason: unknown, error: Error = new JobAbortedError(name, { cause: reason })): JobFailure {
  return { how: 'aborted', reason, error }
}

export function crashed (name: string, how: string, cause?: Error): JobFailure {
  return { how: 'crashed', error: new JobCrashedError(name, how, { cause }) }
}

/** @param durationMs how long the job has run; 0 if it has not */
export function failed (error: unknown, durationMs = 0): JobFailure {
  return { how: 'failed', durationMs, error }
}

/** The payload of the job could not be posted. */
export function payloadUnsent (name: string, payload: unknown, transferList: unknown, cause: unknown): JobFailure {
  return failed(new PayloadNotCloneableError(name, uncloneablePath(payload, 'payload', transferList, cause), { cause }))
}

/** The payload of the job was posted, and its thread could not read it. */
export function payloadUnread (name: string, cause: unknown): JobFailure {
  return failed(new PayloadNotCloneableError(name, 'payload is nested too deeply, or too large, for the thread to read', { cause }))
}

/** The job has run to its end, or its result didn't arrive. Undefined for a job that the thread skipped. */
export function ended (name: string, [, status, value, durationMs]: JobOutcome): JobEnd | undefined {
  if (status === SKIPPED) return undefined
  if (status === COMPLETED) return { how: 'completed', durationMs, value }
  if (status === UNREADABLE) {
    return failed(new ResultNotCloneableError(name, 'result is nested too deeply, or too large, for the main thread to read', { cause: value }), durationMs)
  }
  if (status !== FAILED) return failed(new ResultNotCloneableError(name, value.path, { cause: fromWire(value.cause) }), durationMs)
  const thrown = fromWire(value)
  return failed(value.isError ? thrown : new JobThrewError(name, value.message, { cause: thrown }), durationMs)
}

const causedOutside = [WorkersOverloadedError, WorkersUnavailableError, JobAbortedError, JobTimeoutError, JobCrashedError, ClosingError]

/**
 * Tells whether the load, a client, a thread or a shutdown caused an error, and no code of the application. Such an error doesn't end the
 * process if nobody awaits its promise: of two jobs that a handler awaits one after the other, the second may reject before it is awaited.
 */
export function isCausedOutside (error: unknown): boolean {
  return causedOutside.some((each) => error instanceof each)
}
