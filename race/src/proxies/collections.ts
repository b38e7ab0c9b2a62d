/**
 * Maps and Sets, weak ones too: a location for each key, and the whole: how many there are, and a walk over them.
 *
 * They have methods of their own in place of a Proxy, so each remains the very object that it was: their built-in methods, structuredClone() and
 * `util.types.isMap()` refuse a Proxy.
 */
import { detector } from '../detector.ts'
import { inPlaceOf, type Tracked, unwrap, view, WHOLE } from '../tracked.ts'
import { iterator } from './iterator.ts'

type Methods = Record<PropertyKey, unknown>

/** Puts methods in front of those of the collection's class. They may be called on another collection, which is theirs then. */
function instrument (target: object, ...all: Methods[]): object {
  for (const methods of all) {
    for (const name of Reflect.ownKeys(methods)) {
      const descriptor = Object.getOwnPropertyDescriptor(methods, name) ?? {}
      const native = Reflect.get(target, name) as unknown
      const { get, value } = descriptor as { get?: () => unknown, value?: (...args: unknown[]) => unknown }
      Object.defineProperty(target, name, value === undefined
        ? { ...descriptor, enumerable: false, get (this: unknown) { return this === target ? get?.call(target) : Reflect.get(Object.getPrototypeOf(target) as object, name, this) } }
        : { ...descriptor, enumerable: false, value: inPlaceOf(native, function (this: unknown, ...args: unknown[]) { return this === target ? value.apply(target, args) : Reflect.apply(native as () => unknown, this, args) }) })
    }
  }
  return target
}

function keyed (tracked: Tracked, target: Map<unknown, unknown> | Set<unknown>): Methods {
  // Those of its class, which may be the application's own.
  const { has, delete: remove } = target
  return {
    has (key: unknown) {
      const raw = unwrap(key)
      const had = has.call(target, raw)
      detector.read(tracked, raw, 'has', had)
      return had
    },
    delete (key: unknown) {
      const raw = unwrap(key)
      const had = has.call(target, raw)
      detector.write(tracked, raw, { kind: 'delete', value: undefined, before: tracked.at(raw), had })
      return remove.call(target, raw)
    }
  }
}

function valued (tracked: Tracked, target: Map<unknown, unknown>, grows: boolean): Methods {
  const { get, set, has } = target
  return {
    get (key: unknown) {
      const raw = unwrap(key)
      const value = get.call(target, raw)
      detector.read(tracked, raw, 'value', value)
      return tracked.nested(value, raw)
    },
    set (key: unknown, value: unknown) {
      const [rawKey, raw] = [unwrap(key), unwrap(value)]
      const had = has.call(target, rawKey)
      const isBack = detector.write(tracked, rawKey, { kind: 'set', value: raw, before: tracked.at(rawKey), had })
      if (!had && !isBack && grows) addTo(tracked, raw)
      set.call(target, rawKey, raw)
      return target
    }
  }
}

function marked (tracked: Tracked, target: Set<unknown>, grows: boolean): Methods {
  const { add, has } = target
  return {
    add (value: unknown) {
      const raw = unwrap(value)
      const had = has.call(target, raw)
      const isBack = detector.write(tracked, raw, { kind: 'set', value: true, before: had, had, isMark: true })
      if (!had && !isBack && grows) addTo(tracked, raw)
      add.call(target, raw)
      return target
    }
  }
}

function addTo (tracked: Tracked, value: unknown): void {
  detector.write(tracked, WHOLE, { kind: 'add', value, before: tracked.size, had: false })
}

function mapped<T> (entries: Iterator<T>, pick: (entry: T) => unknown): IterableIterator<unknown> {
  return iterator(() => {
    const { done, value } = entries.next()
    return done === true ? { value: undefined, done } : { value: pick(value), done: false }
  })
}

/** The methods that look at all that is there, on those of the class. */
function walked (tracked: Tracked, target: Map<unknown, unknown> | Set<unknown>, show: (key: unknown, value: unknown) => unknown): Methods {
  const { keys, entries, clear } = target
  const walk = (): void => { detector.read(tracked, WHOLE, 'walk', tracked.size) }
  const isMap = target instanceof Map
  const all = (pick: (key: unknown, value: unknown) => unknown) => (): unknown => {
    walk()
    return mapped(entries.call(target) as Iterator<[unknown, unknown]>, ([key, value]) => pick(key, tracked.nested(value, key)))
  }
  const values = all((_key, value) => value)
  return {
    get size () {
      detector.read(tracked, WHOLE, 'size', tracked.size)
      return tracked.size
    },
    keys: isMap ? () => { walk(); return keys.call(target) } : values,
    values,
    entries: all((key, value) => isMap ? [key, value] : [value, value]),
    [Symbol.iterator]: all(show),
    forEach (fn: (value: unknown, key: unknown, collection: unknown) => void, thisArg?: unknown) {
      walk()
      for (const [key, value] of entries.call(target)) {
        const seen = tracked.nested(value, key)
        fn.call(thisArg, seen, isMap ? key : seen, target)
      }
    },
    clear () {
      detector.write(tracked, WHOLE, { kind: 'clear', value: undefined, before: tracked.size, had: true, isEmptied: true })
      for (const key of keys.call(target)) detector.write(tracked, key, { kind: 'delete', value: undefined, before: tracked.at(key), had: true })
      clear.call(target)
    }
  }
}

view('map', (tracked) => {
  const target = tracked.target as Map<unknown, unknown>
  return instrument(target, keyed(tracked, target), valued(tracked, target, true), walked(tracked, target, (key, value) => [key, value]))
})

view('set', (tracked) => {
  const target = tracked.target as Set<unknown>
  return instrument(target, keyed(tracked, target), marked(tracked, target, true), walked(tracked, target, (_key, value) => value))
})

view('weakMap', (tracked) => {
  const target = tracked.target as Map<unknown, unknown>
  return instrument(target, keyed(tracked, target), valued(tracked, target, false))
})

view('weakSet', (tracked) => {
  const target = tracked.target as Set<unknown>
  return instrument(target, keyed(tracked, target), marked(tracked, target, false))
})
