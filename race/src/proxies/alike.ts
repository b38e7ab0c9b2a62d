/** Whether values do the same for those who use them. */
import { isDeepStrictEqual, types } from 'node:util'
import { unwrap } from '../tracked.ts'

/** A minute and ten years, in ms. */
const NEAR = 6e4
const FAR = 3.2e11

/** Whether a value is a time about now, or one that is to come: when something was done, or until when it holds. */
export function isTime (value: unknown): boolean {
  const time = typeof value === 'number' ? value : types.isDate(value) ? value.getTime() : typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : NaN
  return time > Date.now() - NEAR && time < Date.now() + FAR
}

/** Values that are nested deeper are taken for different ones. */
const DEEPEST = 20

/**
 * Whether two values do the same for those who use them: they are equal but for times, since those who fill a cache with the same do so some
 * milliseconds apart; functions are of the same source.
 */
export function isAlike (first: unknown, second: unknown, depth = 0): boolean {
  const [a, b] = [unwrap(first), unwrap(second)]
  if (Object.is(a, b) || (isTime(a) && isTime(b))) return true
  if (typeof a === 'function' && typeof b === 'function') return sourceOf(a) === sourceOf(b) && !sourceOf(a).includes('[native code]')
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || types.isProxy(a) || types.isProxy(b) || depth > DEEPEST) return false
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b) || types.isPromise(a)) return false
  if (types.isMap(a) || types.isSet(a)) {
    const [x, y] = [elementsOf(a), elementsOf(b as typeof a)]
    return x.length === y.length && x.every((element, index) => isAlike(element, y[index], depth + 1))
  }
  if (ArrayBuffer.isView(a) || types.isAnyArrayBuffer(a) || types.isRegExp(a) || types.isBoxedPrimitive(a)) return isDeepStrictEqual(a, b)
  const [x, y] = [Object.getOwnPropertyDescriptors(a), Object.getOwnPropertyDescriptors(b)] as Array<Record<PropertyKey, PropertyDescriptor>>
  const keys = Reflect.ownKeys(x as object)
  // Getters are the application's code.
  return keys.length === Reflect.ownKeys(y as object).length && keys.every((key) => y?.[key] !== undefined && isAlike(x?.[key]?.value ?? x?.[key]?.get, y[key].value ?? y[key].get, depth + 1))
}

const sourceOf = (fn: object): string => Function.prototype.toString.call(fn)
// Those of the classes, not those that tell of each access.
const elementsOf = (collection: Map<unknown, unknown> | Set<unknown>): unknown[] => types.isMap(collection) ? [...Map.prototype.entries.call(collection)] : [...Set.prototype.values.call(collection)]
