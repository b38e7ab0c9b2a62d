/** The errors that a caller of `run()` gets for what happened on a thread, or on the way to it. */
import { uncloneablePath } from '../../../workers/cloneable.ts'
import { FAILED, UNREADABLE, type Failure } from '../../../workers/protocol.ts'
import { fromWire } from '../../../workers/wire-error.ts'
import { JobThrewError, PayloadNotCloneableError, ResultNotCloneableError } from '../../shared/errors.ts'
import type { Job } from '../job.ts'

/** The payload of the job could not be posted. */
export function unsentError ({ name, payload, transferList }: Job, cause: unknown): Error {
  return new PayloadNotCloneableError(name, uncloneablePath(payload, 'payload', transferList, cause), { cause })
}

/** The payload of the job was posted, and its thread could not read it. */
export function unreadError (name: string, cause: unknown): Error {
  return new PayloadNotCloneableError(name, 'payload is nested too deeply, or too large, for the thread to read', { cause })
}

/** The job has thrown, or its result didn't arrive. Returns the job's own error, or one of ours around a value that is no error. */
export function failureError (name: string, [, status, value]: Failure): unknown {
  if (status === UNREADABLE) {
    return new ResultNotCloneableError(name, 'result is nested too deeply, or too large, for the main thread to read', { cause: value })
  }
  if (status !== FAILED) return new ResultNotCloneableError(name, value.path, { cause: fromWire(value.cause) })
  const thrown = fromWire(value)
  return value.isError ? thrown : new JobThrewError(name, value.message, { cause: thrown })
}
