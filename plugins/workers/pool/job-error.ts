/** The errors that a caller of `run()` gets for what happened on, or on the way to, a thread. */
import { uncloneablePath } from '../../../workers/cloneable.ts'
import { UNREADABLE, type Outcome } from '../../../workers/protocol.ts'
import { fromWire, type WireError } from '../../../workers/wire-error.ts'
import { JobThrewError, PayloadNotCloneableError, ResultNotCloneableError } from '../../shared/errors.ts'
import type { Job } from '../job.ts'

/** A job whose payload could not be posted. */
export function unsentError ({ name, payload, transferList }: Job, cause: unknown): Error {
  return new PayloadNotCloneableError(name, uncloneablePath(payload, 'payload', transferList, cause), { cause })
}

/** A job whose payload was posted, and could not be read by its thread. */
export function unreadError (name: string, cause: unknown): Error {
  return new PayloadNotCloneableError(name, 'payload is nested too deeply, or too large, for the thread to read', { cause })
}

/** @param value a WireError, with the path of what can't be cloned in its fields; or what reading the outcome threw */
export function resultError (name: string, status: Outcome[1], value: unknown): Error {
  if (status === UNREADABLE) return new ResultNotCloneableError(name, 'result is nested too deeply, or too large, for the main thread to read', { cause: value })
  const { path } = (value as WireError).fields
  return new ResultNotCloneableError(name, String(path), { cause: fromWire(value as WireError) })
}

/** What the job threw: its own error, or one of ours around what is no error. */
export function jobError (name: string, wire: unknown): unknown {
  const { isError, message } = wire as WireError
  const value = fromWire(wire as WireError)
  return isError ? value : new JobThrewError(name, message, { cause: value })
}
