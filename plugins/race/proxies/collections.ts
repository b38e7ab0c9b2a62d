/** Maps and Sets: a location for each key, and the whole: how many there are, and a walk over them. */
import { detector } from '../detector.ts'
import { handle, type Tracked, unwrap, WHOLE } from '../tracked.ts'

const methodsOfBoth = (tracked: Tracked, target: Map<unknown, unknown> | Set<unknown>) => ({
  has (key: unknown) {
    const raw = unwrap(key)
    const had = target.has(raw)
    detector.read(tracked, raw, 'has', had)
    return had
  },
  delete (key: unknown) {
    const raw = unwrap(key)
    detector.write(tracked, raw, { kind: 'delete', value: undefined, before: target instanceof Map ? target.get(raw) : target.has(raw), had: target.has(raw) })
    return target.delete(raw)
  },
  clear () {
    for (const key of target.keys()) {
      detector.write(tracked, key, { kind: 'delete', value: undefined, before: target instanceof Map ? target.get(key) : true, had: true })
    }
    target.clear()
  }
})

function addTo (tracked: Tracked, target: { readonly size: number }, value: unknown): void {
  detector.write(tracked, WHOLE, { kind: 'add', value, before: target.size, had: false })
}

function * mapped<T> (entries: Iterable<T>, pick: (entry: T) => unknown): Generator<unknown> {
  for (const entry of entries) yield pick(entry)
}

/** Methods and getters of the built-in want the built-in itself as `this`. */
function handler (tracked: Tracked, target: Map<unknown, unknown> | Set<unknown>, methods: Record<PropertyKey, unknown>): ProxyHandler<object> {
  return {
    get (_target, key) {
      if (key === 'size') {
        detector.read(tracked, WHOLE, 'whole', target.size)
        return target.size
      }
      if (Object.hasOwn(methods, key)) return methods[key]
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' && key !== 'constructor' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    }
  }
}

handle('map', (tracked) => {
  const target = tracked.target as Map<unknown, unknown>
  const walk = (): Map<unknown, unknown> => {
    detector.read(tracked, WHOLE, 'whole', target.size)
    return target
  }
  const entries = (): unknown => mapped(walk(), ([key, value]) => [key, tracked.nested(value, key)])
  return handler(tracked, target, {
    ...methodsOfBoth(tracked, target),
    get (key: unknown) {
      const raw = unwrap(key)
      const value = target.get(raw)
      detector.read(tracked, raw, 'value', value)
      return tracked.nested(value, raw)
    },
    set (this: unknown, key: unknown, value: unknown) {
      const [rawKey, raw] = [unwrap(key), unwrap(value)]
      const had = target.has(rawKey)
      detector.write(tracked, rawKey, { kind: 'set', value: raw, before: target.get(rawKey), had })
      if (!had) addTo(tracked, target, raw)
      target.set(rawKey, raw)
      return this
    },
    forEach (this: unknown, fn: (value: unknown, key: unknown, map: unknown) => void, thisArg?: unknown) {
      for (const [key, value] of walk()) fn.call(thisArg, tracked.nested(value, key), key, this)
    },
    entries,
    [Symbol.iterator]: entries,
    keys: () => walk().keys(),
    values: () => mapped(walk(), ([key, value]) => tracked.nested(value, key))
  })
})

handle('set', (tracked) => {
  const target = tracked.target as Set<unknown>
  const walk = (): Set<unknown> => {
    detector.read(tracked, WHOLE, 'whole', target.size)
    return target
  }
  const values = (): unknown => mapped(walk(), (value) => tracked.nested(value, value))
  return handler(tracked, target, {
    ...methodsOfBoth(tracked, target),
    add (this: unknown, value: unknown) {
      const raw = unwrap(value)
      const had = target.has(raw)
      detector.write(tracked, raw, { kind: 'set', value: true, before: had, had, isMark: true })
      if (!had) addTo(tracked, target, raw)
      target.add(raw)
      return this
    },
    forEach (this: unknown, fn: (value: unknown, key: unknown, set: unknown) => void, thisArg?: unknown) {
      for (const value of walk()) fn.call(thisArg, tracked.nested(value, value), value, this)
    },
    values,
    keys: values,
    [Symbol.iterator]: values,
    entries: () => mapped(walk(), (value) => [value, value])
  })
})
