/**
 * Tells whether a payload is small enough to share a message with others. A message is cloned in one go, and holds the event loop
 * meanwhile.
 */
import { types } from 'node:util'

/** The bound in parts: elements, fields, and hundreds of characters or bytes. Cloning so many takes some ten microseconds. */
const SMALL = 100

/** Looks at no more parts than a small payload has. */
export function isSmall (payload: unknown): boolean {
  try {
    return left(payload, SMALL) >= 0
  } catch { // a getter that throws
    return false
  }
}

/** Returns how many of `parts` are left after those of the value; a negative number if there are too few. */
function left (value: unknown, parts: number): number {
  if (typeof value === 'string') return parts - 1 - value.length / 100
  if (typeof value !== 'object' || value === null) return parts - 1
  if (types.isProxy(value)) return -1
  // A view is cloned with all of its buffer; shared memory isn't cloned.
  const buffer = ArrayBuffer.isView(value) ? value.buffer : value
  if (types.isSharedArrayBuffer(buffer)) return parts - 1
  if (types.isArrayBuffer(buffer)) return parts - 1 - buffer.byteLength / 100
  if (types.isMap(value) || types.isSet(value)) return -1
  let rest = parts - 1
  if (Array.isArray(value)) {
    if (value.length > rest) return -1
    for (let index = 0; index < value.length && rest >= 0; index++) rest = left(value[index], rest)
    return rest
  }
  for (const key of Object.keys(value)) {
    rest = left((value as Record<string, unknown>)[key], rest - key.length / 100)
    if (rest < 0) break
  }
  return rest
}
