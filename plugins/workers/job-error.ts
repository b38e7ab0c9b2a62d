/** The errors that a caller of `run()` gets for what happened on, or on the way to, a thread. */
import { uncloneablePath } from '../../workers/cloneable.ts'
import { fromWire, type WireError } from '../../workers/wire-error.ts'
import { JobThrewError, PayloadNotCloneableError, ResultNotCloneableError } from '../errors.ts'

/** @param cause a DataCloneError */
export function payloadError (name: string, payload: unknown, transferList: readonly unknown[] | undefined, cause: unknown): Error {
  return new PayloadNotCloneableError(name, uncloneablePath(payload, 'payload', transferList), { cause })
}

/** @param wire a DataCloneError, with the path of what can't be cloned in its fields */
export function resultError (name: string, wire: unknown): Error {
  const { path } = (wire as WireError).fields
  return new ResultNotCloneableError(name, String(path), { cause: fromWire(wire as WireError) })
}

/** What the job threw: its own error, or one of ours around what is no error. */
export function jobError (name: string, wire: unknown): unknown {
  const { isError, message } = wire as WireError
  const value = fromWire(wire as WireError)
  return isError ? value : new JobThrewError(name, message, { cause: value })
}
