import { types } from 'node:util'
import * as check from './check.ts'
import './proxies/object.ts'
import './proxies/array.ts'
import './proxies/collections.ts'
import { detector } from './detector.ts'
import { isRequested } from './environment.ts'
import { attempt } from './failure.ts'
import { sharedOptionNames, type SharedOptions } from './options.ts'
import { isTracked, rename, track } from './tracked.ts'

/** Whether something in this process has asked for detection. */
const isWanted = (): boolean => detector.isOn || isRequested()

/**
 * Marks state that requests share, so that races on it are found. Returns the value itself while detection is off: it costs nothing then. While
 * detection is on, returns what stands for an object, array, Map or Set, also for those within it; use that in place of the value from then on.
 *
 * Detection is on with RACE=1, after `app.register(race)`, and in an exploration. State that is made before needs RACE=1.
 *
 * What can't be tracked is returned as it is, with a warning: frozen objects, Proxies of others, Dates, typed arrays, and instances of classes
 * with private fields. Other instances are tracked if they are passed here; instances within tracked state are not.
 *
 * @example
 * const sessions = shared(new Map<string, Session>(), 'sessions')
 * @param name as reports show it
 */
export function shared<T extends object> (value: T, name: string, options: SharedOptions = {}): T {
  if (!isWanted()) return value
  check.text('shared(): name', name)
  check.ensure(typeof value === 'object' && value !== null, `shared(): "${name}"`, 'an object, an array, a Map or a Set, which may hold other values: shared({ value: 0 }, …)', value)
  check.record('shared(): options', options, sharedOptionNames)
  const isLww = check.boolean('shared(): lww', options.lww ?? false)
  const why = attempt(() => untrackable(value), 'the detector has failed')
  if (why === undefined) {
    return attempt(() => {
      rename(value, name, isLww)
      return track(value, name, isLww)
    }, value)
  }
  process.emitWarning(`shared(): "${name}" is not tracked for races: ${why}`)
  return value
}

const isCollection = (value: object): boolean => types.isMap(value) || types.isSet(value) || value instanceof WeakMap || value instanceof WeakSet

function untrackable (value: object): string | undefined {
  if (isTracked(value)) return undefined
  if (types.isProxy(value)) return 'it is a Proxy'
  if (isCollection(value)) return Object.isExtensible(value) ? undefined : 'it can\'t be extended'
  if (Object.isFrozen(value)) return 'it is frozen, so nobody can change it'
  if (Array.isArray(value)) return undefined
  for (let prototype = Object.getPrototypeOf(value) as object | null; prototype !== null && prototype !== Object.prototype; prototype = Object.getPrototypeOf(prototype) as object | null) {
    if (typeof prototype.constructor !== 'function') continue
    const source = Function.prototype.toString.call(prototype.constructor)
    // The methods of a built-in want the built-in itself as `this`, and private fields the instance itself.
    if (source.includes('[native code]')) return `it is a ${prototype.constructor.name}`
    if (/(?:^|[^\w'"`])#[A-Za-z_$]/.test(source)) return 'its class has private fields'
  }
  return undefined
}
