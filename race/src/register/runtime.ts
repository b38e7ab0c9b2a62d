/** What rewritten code calls, as the global `$$race`. */
import { types } from 'node:util'
import { detector } from '../detector.ts'
import { attempt, fail } from '../failure.ts'
import { shared } from '../shared.ts'
import { isPlain, isTracked, track, Tracked, trackedOf, unwrap } from '../tracked.ts'

export const GLOBAL = '$$race'

/** A variable that functions share, or a field of an object. */
export interface Cell {
  readonly collection: Tracked
  readonly key: unknown
}

/** Names of fields that some module assigns. Other fields never change, so reads of them are not noted. */
const assigned = new Set<string>()

/** A variable is one location. */
const VARIABLE = Symbol('variable')

/** The cells of variables that modules export, and what modules export from others, by module and name. */
const exported = new Map<string, Cell>()
const passed = new Map<string, ReadonlyArray<{ readonly from: string, readonly original: string }>>()

/** Modules may export from each other in circles. */
const MOST_STEPS = 10

function find (module: string, name: string, steps: number): Cell | undefined {
  const own = exported.get(`${module}:${name}`)
  if (own !== undefined || steps > MOST_STEPS) return own
  for (const { from, original } of [...passed.get(`${module}:${name}`) ?? [], ...passed.get(`${module}:*`) ?? []]) {
    const found = find(from, original === '*' ? name : original, steps + 1)
    if (found !== undefined) return found
  }
  return undefined
}

let held: unknown

export const runtime = {
  /** Tracks a value where it is made. */
  shared<T> (value: T, name: string): T {
    return attempt(() => isPlain(value) ? shared(value, name) : value, value)
  },

  /** Tracks a value that some function returned, if it is data: an object with methods may depend on being itself. */
  data<T> (value: T, name: string): T {
    return attempt(() => isPlain(value) && isData(value) ? shared(value, name) : value, value)
  },

  /** Keeps the object of a path, which is read once, for the calls of held() that follow before any code of the application runs. */
  hold<T> (object: T): T {
    held = object
    return object
  },

  held (): unknown {
    return held
  },

  /** The value itself, to compare it. */
  raw: unwrap,

  fields (...names: string[]): void {
    for (const name of names) assigned.add(name)
  },

  /** Makes the cell of a variable. @param module, names where others find it, and by which names, if it is exported */
  cell (name: string, module = '', ...names: readonly string[]): Cell {
    const cell = { collection: new Tracked({}, name, false), key: VARIABLE }
    for (const each of names) exported.set(`${module}:${each}`, cell)
    return cell
  },

  /** Tells that a module exports what another one does. `*` stands for all. */
  passOn (module: string, name: string, from: string, original: string): void {
    const key = `${module}:${name}`
    passed.set(key, [...passed.get(key) ?? [], { from, original }])
  },

  /** Returns the cell of a variable that is imported; undefined for what never changes. */
  imported (module: string, name: string): Cell | undefined {
    return detector.isWatching ? attempt(() => find(module, name, 0), undefined) : undefined
  },

  /**
   * Returns the cell of a field; undefined for what no race can be on, or what a Proxy tells of.
   *
   * @param path as in the source: `this.count`
   */
  of (object: unknown, path: string): Cell | undefined {
    if ((typeof object !== 'object' && typeof object !== 'function') || object === null || !detector.isWatching || isTracked(object)) return undefined
    return attempt(() => cellOf(object, path), undefined)
  },

  /** Tells of a field that a pattern reads. */
  note (object: unknown, path: string): void {
    const cell = runtime.of(object, path)
    if (cell !== undefined) runtime.read(cell, Reflect.get(object as object, cell.key as string))
  },

  /** @param cell undefined before its declaration has run */
  read<T> (cell: Cell | undefined, value: T): T {
    if (cell !== undefined && typeof value !== 'function') detector.read(cell.collection, cell.key, 'value', unwrap(value))
    return value
  },

  /**
   * Returns what is to be written.
   *
   * @param before the value that is there, of a variable or a private field
   */
  write<T> (cell: Cell | undefined, value: T, ...[before]: [before?: unknown]): T {
    if (cell === undefined) return value
    const { collection, key } = cell
    // Not by attempt(): each function of ours takes the place of one of the application's in the stack that is kept.
    try {
      const { target, name } = collection
      if (key === VARIABLE) {
        const tracked = isPlain(value) ? track(value, name, false) as T : value
        detector.write(collection, key, { kind: 'set', value: unwrap(tracked), before: unwrap(before), had: before !== undefined })
        return tracked
      }
      const isPrivate = (key as string).startsWith('#')
      detector.write(collection, key, { kind: 'set', value: unwrap(value), before: unwrap(isPrivate ? before : Object.getOwnPropertyDescriptor(target, key as string)?.value), had: isPrivate || Object.hasOwn(target, key as string) })
    } catch (error) {
      fail(error)
    }
    return value
  },

  /** Returns an object whose field stands for a variable or a field, in a pattern and with operators that read and write. */
  target<T> (cell: Cell | undefined, set: (value: T) => void, get: () => T): { value: T } {
    return {
      get value () { return runtime.read(cell, get()) },
      set value (value) { set(runtime.write(cell, value, cell !== undefined && (cell.key === VARIABLE || (cell.key as string).startsWith('#')) ? get() : undefined)) }
    }
  },

  /** Adds to what `++` and `--` add to. */
  step<T> (value: T, by: number): T | number | bigint {
    return typeof value === 'bigint' ? value + BigInt(by) : Number(value) + by
  }
}

function cellOf (object: object, path: string): Cell | undefined {
  const dot = path.lastIndexOf('.')
  const key = path.slice(dot + 1)
  // The traps of a Proxy are the application's code.
  if (!key.startsWith('#') && (!assigned.has(key) || types.isProxy(object) || !holdsData(object, key))) return undefined
  return { collection: trackedOf(object, path.slice(0, dot)), key }
}

/** Whether an object has no methods. Getters are not called: they are the application's code. */
function isData (object: object): boolean {
  return !Object.values(Object.getOwnPropertyDescriptors(object)).some(({ value }) => typeof value === 'function')
}

/** Whether the field is a value, and neither a method nor computed by a getter. An object that doesn't have it yet will hold it as a value. */
function holdsData (object: object, key: string): boolean {
  for (let at: object | null = object; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const field = Object.getOwnPropertyDescriptor(at, key)
    if (field !== undefined) return 'value' in field
  }
  return true
}
