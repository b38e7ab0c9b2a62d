/** Why a payload can't be sent. */
import { uncloneablePath } from '../../workers/cloneable.ts'
import { PayloadNotCloneableError } from '../errors.ts'

export function payloadError (name: string, payload: unknown, cause: unknown): Error {
  const path = uncloneablePath(payload, 'payload')
  return new PayloadNotCloneableError(name, `${path} can't be cloned`, { cause })
}
