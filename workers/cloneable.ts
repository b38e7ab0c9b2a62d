/**
 * Finds what structured clone refuses, without cloning anything: a clone as a test costs as much as the value is large, at each level anew.
 * The search is bounded, since the value may be as wide and as deep as a client likes.
 */
import { types } from 'node:util'

/** How many parts of a value (elements, fields, entries) are looked at: at most some 20 ms. */
const MAX_PARTS = 20_000

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
 * @returns the path of the first part that can't be cloned, such as `payload.items[3].onDone`, or another reason; some hundred characters at most
 */
export function uncloneablePath (value: unknown, root: string, transferList: unknown = [], cause?: unknown): string {
  if (!Array.isArray(transferList)) return 'the transferList is not an array'
  // A stack overflow. To tell which branch is too deep, the search would have to be as deep.
  if (cause instanceof RangeError) return `${root} is nested too deeply, or too large`
  try {
    const path = new Search(transferList).find(value, 0)
    if (path === undefined) return transferList.length > 0 ? 'the transferList' : root
    return path.length <= MAX_PATH ? root + path : `${root}${path.slice(0, MAX_PATH / 2)}…${path.slice(-MAX_PATH / 2)}`
  } catch { // a getter that throws
    return root
  }
}

class Search {
  readonly #seen: Set<unknown>
  #parts = MAX_PARTS

  /** @param moved what is transferred, and so not cloned */
  constructor (moved: readonly unknown[]) {
    this.#seen = new Set(moved)
  }

  /** Returns the path from a part to the first part below it, or itself, that can't be cloned; undefined if none was found. */
  find (part: unknown, depth: number): string | undefined {
    if (--this.#parts < 0) return undefined
    if (typeof part === 'function' || typeof part === 'symbol') return ''
    if (typeof part !== 'object' || part === null || this.#seen.has(part)) return undefined
    this.#seen.add(part)
    // First: whatever else is asked of a Proxy runs its traps.
    if (types.isProxy(part)) return ''
    const buffer = ArrayBuffer.isView(part) ? part.buffer : part
    if (types.isAnyArrayBuffer(buffer)) return isDetached(buffer) ? '' : undefined
    if (types.isNativeError(part) || types.isBoxedPrimitive(part)) return undefined
    if (depth === MAX_DEPTH) return undefined
    const below = (child: unknown, step: () => string): string | undefined => {
      const path = this.find(child, depth + 1)
      return path === undefined ? undefined : step() + path
    }
    if (Array.isArray(part)) return this.#inArray(part, below)
    if (types.isMap(part)) return this.#inMap(part, below)
    return types.isSet(part) ? this.#inSet(part, below) : this.#inFields(part, below)
  }

  /** Stops when the budget is spent: an array may be sparse and billions long. */
  #inArray (array: readonly unknown[], below: Below): string | undefined {
    let path: string | undefined
    for (let index = 0; index < array.length && path === undefined && this.#parts > 0; index++) {
      path = below(array[index], () => `[${index}]`)
    }
    return path
  }

  /** By the method of Map itself, which a class of the application may have replaced. */
  #inMap (map: Map<unknown, unknown>, below: Below): string | undefined {
    for (const [key, value] of Map.prototype.entries.call(map)) {
      const path = below(key, () => '.keys()') ?? below(value, () => `.get(${typeof key === 'string' ? quoted(key) : typeof key === 'object' ? '…' : String(key)})`)
      if (path !== undefined || this.#parts <= 0) return path
    }
    return undefined
  }

  #inSet (set: Set<unknown>, below: Below): string | undefined {
    for (const value of Set.prototype.values.call(set)) {
      const path = below(value, () => '.values()')
      if (path !== undefined || this.#parts <= 0) return path
    }
    return undefined
  }

  #inFields (object: object, below: Below): string | undefined {
    const keys = Object.keys(object)
    this.#parts -= keys.length >> 3
    // Without fields, cloning it costs little, and tells a Date from a Promise, a WeakMap or a MessagePort.
    if (keys.length === 0 && !this.#clones(object)) return ''
    for (const key of keys) {
      const step = (): string => key.length <= MAX_KEY && /^[\w$]+$/.test(key) ? `.${key}` : `[${quoted(key)}]`
      const path = below((object as Record<string, unknown>)[key], step)
      if (path !== undefined || this.#parts <= 0) return path
    }
    return undefined
  }

  #clones (object: object): boolean {
    const prototype: unknown = Object.getPrototypeOf(object)
    if (prototype === Object.prototype || prototype === null) return true
    this.#parts -= 10
    try {
      structuredClone(object)
      return true
    } catch {
      return false
    }
  }
}

type Below = (child: unknown, step: () => string) => string | undefined

function isDetached (buffer: ArrayBufferLike): boolean {
  if (buffer.byteLength > 0) return false
  try {
    return new Uint8Array(buffer).length > 0
  } catch {
    return true
  }
}

function quoted (key: string): string {
  return JSON.stringify(key.length <= MAX_KEY ? key : `${key.slice(0, MAX_KEY)}…`)
}
