/** Arrays: a location for each index, and the whole: how long the array is, what is in it, and at which index. */
import { detector } from '../detector.ts'
import { inPlaceOf, knownOf, type Tracked, unwrap, view, WHOLE } from '../tracked.ts'
import { iterator } from './iterator.ts'
import { isFixed } from './object.ts'

type Method = (this: unknown, ...args: unknown[]) => unknown

/** Methods that move what is in the array to other places. */
const shifting = new Set(['pop', 'shift', 'unshift', 'splice', 'sort', 'reverse', 'fill', 'copyWithin'])

/** Methods that compare their argument with what is in the array. */
const comparing = new Set(['includes', 'indexOf', 'lastIndexOf'])

const isIndex = (key: string): boolean => /^(?:0|[1-9]\d*)$/.test(key)

/** The methods that stand in for those of the class, by these: one for all arrays, as there is one of the class. */
const methods = new WeakMap<Method, Method>()

/** Returns what stands in for a method. It may be called on what isn't tracked, and does what the method does then. */
function methodOf (name: string | symbol, method: Method): Method {
  let known = methods.get(method)
  if (known !== undefined) return known
  known = inPlaceOf(method, function (this: unknown, ...args: unknown[]): unknown {
    const tracked = knownOf(this)
    return tracked === undefined || !Array.isArray(tracked.target) ? method.apply(this, args) : call(tracked, tracked.target, this, name, method, args)
  })
  methods.set(method, known)
  return known
}

function call (tracked: Tracked, target: unknown[], proxy: unknown, name: string | symbol, method: Method, args: unknown[]): unknown {
  const view = (): unknown[] => target.map((element, index) => tracked.nested(element, index))
  if (name === Symbol.iterator || name === 'values') return iterate(tracked, target, (element) => element)
  if (name === 'entries') return iterate(tracked, target, (element, index) => [index, element])
  if (typeof name === 'symbol') return method.apply(target, args)
  if (name === 'push') {
    for (const element of args) detector.write(tracked, WHOLE, { kind: 'add', value: unwrap(element), before: target.length, had: false, isAppended: true })
    return target.push(...args.map(unwrap))
  }
  if (shifting.has(name)) {
    if (target.length > 0 || name === 'splice' || name === 'unshift') {
      // splice(0) takes all; splice(0, n) what the caller has seen.
      const isEmptied = name === 'splice' && args[0] === 0 && (args.length === 1 || Number(args[1]) >= target.length) && args.length < 3
      detector.write(tracked, WHOLE, { kind: 'shift', value: undefined, before: target.length, had: true, isEmptied })
    }
    const result = method.apply(target, name === 'sort' ? args : args.map(unwrap))
    if (result === target) return proxy
    return Array.isArray(result) && name === 'splice' ? result.map((element) => tracked.nested(element, WHOLE)) : tracked.nested(result, WHOLE)
  }
  detector.read(tracked, WHOLE, 'walk', target.length)
  if (comparing.has(name)) return method.apply(target, args.map(unwrap))
  // Callbacks get elements that are tracked too, and as their last argument the array itself. A comparison has no such argument.
  const [fn] = args
  if (typeof fn === 'function') args[0] = function (this: unknown, ...given: unknown[]) { return Reflect.apply(fn, this, given.length > 2 ? [...given.slice(0, -1), proxy] : given) as unknown }
  return method.apply(view(), args)
}

/** Iterates as an array does, which sees elements that are added meanwhile, and tells the detector of each step. */
function iterate (tracked: Tracked, target: unknown[], pick: (element: unknown, index: number) => unknown): IterableIterator<unknown> {
  detector.read(tracked, WHOLE, 'walk', target.length)
  const step = detector.iterate(tracked, WHOLE)
  let index = 0
  return iterator(() => {
    if (index > 0 && index !== Infinity) step()
    if (index >= target.length) {
      index = Infinity
      return { value: undefined, done: true }
    }
    const value = pick(tracked.nested(target[index], index), index)
    index++
    return { value, done: false }
  })
}

view('array', (tracked) => new Proxy(tracked.target, {
  get (array, key) {
    const target = array as unknown[]
    if (key === 'length') {
      detector.read(tracked, WHOLE, 'size', target.length)
      return target.length
    }
    const value: unknown = Reflect.get(target, key)
    if (typeof key === 'string' && isIndex(key)) {
      detector.read(tracked, Number(key), 'value', value)
      return isFixed(target, key) ? value : tracked.nested(value, Number(key))
    }
    return typeof value === 'function' && key !== 'constructor' && !Object.hasOwn(target, key) ? methodOf(key, value as Method) : value
  },
  set (array, key, value, receiver) {
    const target = array as unknown[]
    // An object that has the array for its prototype.
    if (unwrap(receiver) !== target) return Reflect.set(target, key, value, receiver)
    const raw: unknown = unwrap(value)
    if (key === 'length') detector.write(tracked, WHOLE, { kind: 'shift', value: undefined, before: target.length, had: true, isEmptied: raw === 0 })
    else if (typeof key === 'string' && isIndex(key)) {
      const index = Number(key)
      const had = index < target.length
      if (had) detector.write(tracked, index, { kind: 'set', value: raw, before: target[index], had })
      else detector.write(tracked, WHOLE, { kind: 'add', value: raw, before: target.length, had, isAppended: true })
    }
    return Reflect.set(target, key, raw)
  }
}))
