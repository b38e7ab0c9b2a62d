/**
 * What structured clone refuses, found without cloning anything: a clone as a test costs as much as the value is large, at each level
 * anew. The search is iterative and bounded, since what it looks at may be as wide and as deep as a client likes.
 */
import { types } from 'node:util'

/** How many parts of a value (elements, fields, entries) are looked at: at most some 20 ms. */
const MAX_PARTS = 20_000

/** How deep the search goes: a path that is longer helps nobody. */
const MAX_DEPTH = 500

/** A path in a message is cut in its middle, and long keys at their end: keys come from clients. */
const MAX_STEPS = 8
const MAX_KEY = 40

interface Level {
  readonly part: object
  readonly children: Iterator<Child, undefined>
  /** The key of the child that is being looked at. */
  key: unknown
}

type Child = readonly [key: unknown, child: unknown]

/** The key of a Map's key, or of a Set's value. */
const MEMBER = Symbol('member')

/**
 * Says what in a value could not be sent.
 *
 * @param root what the value is called, such as `payload`
 * @param cause what `postMessage` threw
 * @returns the path of the first part that can't be cloned, such as `payload.items[3].onDone`, or another reason; some hundred characters at most
 */
export function uncloneablePath (value: unknown, root: string, transferList: unknown = [], cause?: unknown): string {
  if (!Array.isArray(transferList)) return 'the transferList is not an array'
  // A stack overflow. To tell which branch is too deep, the search would have to be as deep.
  if (cause instanceof RangeError) return `${root} is nested too deeply, or too large`
  try {
    const found = search(value, transferList)
    if (found !== undefined) return root + path(found)
    return transferList.length > 0 ? 'the transferList' : root
  } catch { // a getter that throws
    return root
  }
}

interface Budget { parts: number }

/** Returns the levels that lead to the first part that can't be cloned; undefined if none was found. */
function search (value: unknown, moved: readonly unknown[]): readonly Level[] | undefined {
  const budget = { parts: MAX_PARTS }
  const levels: Level[] = []
  const seen = new Set(moved)
  for (let part = value; ;) {
    if (--budget.parts < 0) return undefined
    if (typeof part === 'function' || typeof part === 'symbol') return levels
    if (typeof part === 'object' && part !== null && !seen.has(part)) {
      seen.add(part)
      const parts = children(part, budget)
      if (parts === REFUSED) return levels
      if (levels.length < MAX_DEPTH) levels.push({ part, children: parts, key: undefined })
    }
    let level = levels.at(-1)
    let next = level?.children.next()
    while (next?.done === true) {
      levels.pop()
      level = levels.at(-1)
      next = level?.children.next()
    }
    if (level === undefined || next?.value === undefined) return undefined
    level.key = next.value[0]
    part = next.value[1]
  }
}

const REFUSED = Symbol('refused')
const NONE: readonly Child[] = []

/** The parts of an object; REFUSED if structured clone refuses the object for what it is itself. */
function children (part: object, budget: Budget): Iterator<Child, undefined> | typeof REFUSED {
  // First: whatever else is asked of a Proxy runs its traps.
  if (types.isProxy(part)) return REFUSED
  if (Array.isArray(part)) return elements(part)
  if (types.isMap(part)) return entries(part)
  if (types.isSet(part)) return members(part)
  if (ArrayBuffer.isView(part) || types.isAnyArrayBuffer(part)) return isDetached(ArrayBuffer.isView(part) ? part.buffer : part) ? REFUSED : NONE.values()
  if (types.isNativeError(part) || types.isBoxedPrimitive(part)) return NONE.values()
  const keys = Object.keys(part)
  budget.parts -= keys.length >> 3
  // Without parts, cloning it costs little, and tells a Date from a Promise, a WeakMap or a MessagePort.
  if (keys.length === 0 && !clones(part, budget)) return REFUSED
  return fields(part, keys)
}

function clones (part: object, budget: Budget): boolean {
  const prototype: unknown = Object.getPrototypeOf(part)
  if (prototype === Object.prototype || prototype === null) return true
  budget.parts -= 10
  try {
    structuredClone(part)
    return true
  } catch {
    return false
  }
}

function isDetached (buffer: ArrayBufferLike): boolean {
  if (buffer.byteLength > 0) return false
  try {
    return new Uint8Array(buffer).length > 0
  } catch {
    return true
  }
}

/** Lazily: an array may be sparse and billions long. */
function * elements (array: readonly unknown[]): Generator<Child, undefined> {
  for (let index = 0; index < array.length; index++) yield [index, array[index]]
}

function * fields (object: object, keys: readonly string[]): Generator<Child, undefined> {
  for (const key of keys) yield [key, (object as Record<string, unknown>)[key]]
}

/** By the method of Map itself, which a class of the application may have replaced. */
function * entries (map: ReadonlyMap<unknown, unknown>): Generator<Child, undefined> {
  for (const [key, value] of Map.prototype.entries.call(map) as IterableIterator<[unknown, unknown]>) {
    yield [MEMBER, key]
    yield [key, value]
  }
}

function * members (set: ReadonlySet<unknown>): Generator<Child, undefined> {
  for (const value of Set.prototype.values.call(set) as IterableIterator<unknown>) yield [MEMBER, value]
}

function path (levels: readonly Level[]): string {
  const steps = levels.length <= MAX_STEPS
    ? levels.map(step)
    : [...levels.slice(0, MAX_STEPS / 2).map(step), '…', ...levels.slice(-MAX_STEPS / 2).map(step)]
  return steps.join('')
}

function step ({ part, key }: Level): string {
  if (Array.isArray(part)) return `[${String(key)}]`
  if (key === MEMBER) return types.isMap(part) ? '.keys()' : '.values()'
  if (types.isMap(part)) return `.get(${typeof key === 'string' ? quoted(key) : typeof key === 'number' ? String(key) : '…'})`
  const name = String(key)
  return name.length <= MAX_KEY && /^[\w$]+$/.test(name) ? `.${name}` : `[${quoted(name)}]`
}

function quoted (key: string): string {
  return JSON.stringify(key.length <= MAX_KEY ? key : `${key.slice(0, MAX_KEY)}…`)
}
