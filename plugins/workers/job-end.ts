/** The errors of callers of `run()`, and how the answer of a thread becomes an outcome. */
import { uncloneablePath } from '../../workers/cloneable.ts'
import { COMPLETED, FAILED, SKIPPED, UNREADABLE, type JobOutcome } from '../../workers/protocol.ts'
import { fromWire } from '../../workers/wire-error.ts'
import { completed, failed, type Outcome } from '../core/ledger/ledger.ts'
import {
  ClosingError, JobAbortedError, JobCrashedError, JobThrewError, JobTimeoutError, PayloadNotCloneableError,
  ResultNotCloneableError, WorkersOverloadedError,
  WorkersUnavailableError
} from '../shared/errors.ts'

/** The payload of the job could not be posted. */
export function payloadUnsent (name: string, payload: unknown, transferList: unknown, cause: unknown): Outcome {
  return failed(new PayloadNotCloneableError(name, uncloneablePath(payload, 'payload', transferList, cause), { cause }))
}

/** The payload of the job was posted, and its thread could not read it. */
export function payloadUnread (name: string, cause: unknown): Outcome {
  return failed(new PayloadNotCloneableError(name, 'payload is nested too deeply, or too large, for the thread to read',
    { cause }))
}

/** The job has run to its end, or its result didn't arrive. Undefined for a job that the thread skipped. */
export function answered (name: string, [, status, value, ms]: JobOutcome): Outcome | undefined {
  if (status === SKIPPED) return undefined
  if (status === COMPLETED) return completed(value, ms)
  if (status === UNREADABLE) {
    return failed(new ResultNotCloneableError(name,
      'result is nested too deeply, or too large, for the main thread to read', { cause: value }), ms)
  }
  if (status !== FAILED) {
    return failed(new ResultNotCloneableError(name, value.path, { cause: fromWire(value.cause) }),
      ms)
  }
  const thrown = fromWire(value)
  return failed(value.isError ? thrown : new JobThrewError(name, value.message, { cause: thrown }), ms)
}

const causedOutside = [WorkersOverloadedError, WorkersUnavailableError, JobAbortedError, JobTimeoutError,
  JobCrashedError, ClosingError]

/**
 * Tells whether the load, a client, a thread or a shutdown caused an error, and no code of the application. Such an
 * error doesn't end the process if nobody awaits its promise: of two jobs that a handler awaits one after the other,
 * the second may reject before it is awaited.
 */
export function isCausedOutside (error: unknown): boolean {
  return causedOutside.some((each) => error instanceof each)
}
