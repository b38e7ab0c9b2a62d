/**
 * This module finds the part of a value that can't be cloned. It clones only empty buffers and objects without fields,
 * because a clone of every level would cost too much. The search is bounded, since the value may be as wide and as deep
 * as a client likes.
 */
import { types } from 'node:util'

/** The most parts of a value (elements, fields, entries) that a search visits. So many take about 20 ms at most. */
const MAX_PARTS = 5_000

/** How deep the search goes: a longer path helps nobody. */
const MAX_DEPTH = 500

/** Paths and keys are cut in messages: keys come from clients. */
const MAX_PATH = 200
const MAX_KEY = 40

/**
 * Says what in a value could not be sent.
 *
 * @param root the name of the value, such as `payload`
 * @param cause what `postMessage` threw
 * @returns the path of the first part that can't be cloned, such as `payload.items[3].onDone`, or another reason; some
 * hundred characters at most
 */
export function uncloneablePath (value: unknown, root: string, transferList: unknown = [], cause?: unknown): string {
  if (types.isProxy(transferList) || !Array.isArray(transferList)) return 'the transferList is not an array'
  // A stack overflow. To tell which branch is too deep, the search would have to be as deep.
  if (cause instanceof RangeError) return `${root} is nested too deeply, or too large`
  try {
    const path = find(value, 0, { seen: new Set(transferList), left: MAX_PARTS })
    if (path === undefined) return transferList.length > 0 ? 'the transferList' : root
    return path.length <= MAX_PATH ? root + path : `${root}${path.slice(0, MAX_PATH / 2)}…${path.slice(-MAX_PATH / 2)}`
  } catch { // a getter that throws
    return root
  }
}

const moved = Symbol.for('Piscina.transferable')

/** Tells whether piscina's move() made a value. Cloned, it would arrive as `{}`. */
export function isMoved (value: unknown): boolean {
  // A Proxy can't be sent, and one that was revoked can't be asked.
  return typeof value === 'object' && value !== null && !types.isProxy(value) && moved in value
}

/** What was seen already, or is transferred, and how many parts may still be looked at. */
interface Search {
  readonly seen: Set<unknown>
  left: number
}

/**
 * Returns the path from a part to the first part below it, or itself, that can't be cloned; undefined if none was
 * found.
 */
function find (part: unknown, depth: number, search: Search): string | undefined {
  search.left--
  if (typeof part === 'function' || typeof part === 'symbol') return ''
  if (typeof part !== 'object' || part === null || search.seen.has(part)) return undefined
  search.seen.add(part)
  // First: whatever else is asked of a Proxy runs its traps.
  if (types.isProxy(part)) return ''
  const buffer = ArrayBuffer.isView(part) ? part.buffer : part
  if (types.isAnyArrayBuffer(buffer)) {
    return buffer.byteLength > 0 || isCloned(buffer)
      ? undefined
      : ''
  } // A buffer that has moved is empty.
  if (types.isNativeError(part) || types.isBoxedPrimitive(part) || depth === MAX_DEPTH) return undefined
  for (const [child, step] of partsOf(part)) {
    const path = find(child, depth + 1, search)
    if (path !== undefined) return step + path
    if (search.left <= 0) return undefined
  }
  return undefined
}

/**
 * Lists the parts of an object, and how each is reached. Maps and Sets are read by their own methods, which an
 * application may have replaced.
 */
function * partsOf (object: object): Generator<[part: unknown, step: string]> {
  if (Array.isArray(object)) {
    for (let index = 0; index < object.length; index++) yield [object[index], `[${index}]`]
  } else if (types.isMap(object)) {
    for (const [key, part] of Map.prototype.entries.call(object)) {
      yield [key, '.keys()']
      yield [part, `.get(${typeof key === 'string' ? quoted(key) : typeof key === 'object' ? '…' : String(key)})`]
    }
  } else if (types.isSet(object)) {
    for (const part of Set.prototype.values.call(object)) yield [part, '.values()']
  } else {
    const keys = Object.keys(object)
    // Without fields, cloning it costs little, and tells a Date from a Promise, a WeakMap or a MessagePort.
    if (keys.length === 0 && !isCloned(object)) yield [Symbol('can\'t be cloned'), '']
    for (const key of keys) {
      yield [(object as Record<string, unknown>)[key], key.length <= MAX_KEY && /^[\w$]+$/.test(key)
        ? `.${key}`
        : `[${quoted(key)}]`]
    }
  }
}

function isCloned (value: unknown): boolean {
  try {
    structuredClone(value)
    return true
  } catch {
    return false
  }
}

function quoted (key: string): string {
  return JSON.stringify(key.length <= MAX_KEY ? key : `${key.slice(0, MAX_KEY)}…`)
}
