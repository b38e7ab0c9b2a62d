/** Objects: a location for each key, and the whole for which keys there are. */
import { detector } from '../detector.ts'
import { type Tracked, unwrap, view, WHOLE } from '../tracked.ts'

/** Whether reads and writes of the key are those of a value of the object's own, and not of a method, a getter or a setter. */
function isValue (target: object, key: PropertyKey): boolean {
  const own = Object.getOwnPropertyDescriptor(target, key)
  return own === undefined ? !(key in target) : own.get === undefined && own.set === undefined
}

/** A Proxy must return the very value of a property that can't change. */
export function isFixed (target: object, key: PropertyKey): boolean {
  const own = Object.getOwnPropertyDescriptor(target, key)
  return own !== undefined && own.configurable === false && own.writable === false
}

export function readOf (tracked: Tracked, target: object, key: string, receiver: unknown): unknown {
  const value: unknown = Reflect.get(target, key, receiver)
  if (typeof value === 'function' || !isValue(target, key)) return value
  detector.read(tracked, key, 'value', value)
  return isFixed(target, key) ? value : tracked.nested(value, key)
}

view('object', (tracked) => new Proxy(tracked.target, {
  get (target, key, receiver) {
    return typeof key === 'symbol' ? Reflect.get(target, key, receiver) as unknown : readOf(tracked, target, key, receiver)
  },
  has (target, key) {
    const had = Reflect.has(target, key)
    if (typeof key === 'string') detector.read(tracked, key, 'has', had)
    return had
  },
  set (target, key, value, receiver) {
    if (typeof key === 'symbol' || !isValue(target, key)) return Reflect.set(target, key, value, receiver)
    const raw: unknown = unwrap(value)
    const had = Object.hasOwn(target, key)
    detector.write(tracked, key, { kind: 'set', value: raw, before: Reflect.get(target, key), had })
    if (!had) detector.write(tracked, WHOLE, { kind: 'add', value: raw, before: undefined, had })
    // On the target: with the proxy as receiver, the property would be defined through the proxy, past this trap.
    return unwrap(receiver) === target ? Reflect.set(target, key, raw) : Reflect.set(target, key, raw, receiver)
  },
  deleteProperty (target, key) {
    const had = Object.hasOwn(target, key)
    if (typeof key === 'string') detector.write(tracked, key, { kind: 'delete', value: undefined, before: Reflect.get(target, key), had })
    return Reflect.deleteProperty(target, key)
  },
  ownKeys (target) {
    detector.read(tracked, WHOLE, 'walk', undefined)
    return Reflect.ownKeys(target)
  }
}))
