/** Makes built-in functions that clone or compare a value take the value itself where a proxy stands for it. */
import assert from 'node:assert'
import module from 'node:module'
import v8 from 'node:v8'
import { BroadcastChannel, MessagePort } from 'node:worker_threads'
import { attempt } from '../failure.ts'
import { inPlaceOf, otherOf, unwrap, unwrapDeep } from '../tracked.ts'

/** A Proxy can't be cloned. */
function cloneRaw<Name extends string> (owner: Record<Name, (value: never, ...rest: never[]) => unknown>, name: Name): void {
  const clone = owner[name] as (value: unknown, ...rest: unknown[]) => unknown
  Object.assign(owner, { [name]: function (this: unknown, value: unknown, ...rest: unknown[]) { return clone.call(this, attempt(() => unwrapDeep(value), value), ...rest) } })
}

type Method = (this: unknown, ...args: unknown[]) => unknown

/** An array that isn't tracked may hold a value, or what stands for it. */
function searchEither (name: 'includes' | 'indexOf' | 'lastIndexOf'): void {
  const search = Array.prototype[name] as Method
  const { [name]: value } = {
    [name] (this: unknown, sought: unknown, ...rest: unknown[]): unknown {
      const found = search.call(this, sought, ...rest)
      const other = found === -1 || found === false ? otherOf(sought) : undefined
      return other === undefined ? found : search.call(this, other, ...rest)
    }
  }
  Object.defineProperty(Array.prototype, name, { value, writable: true, configurable: true, enumerable: false }) // eslint-disable-line no-extend-native -- with RACE=1 only
}

/** Keys of Maps and members of Sets: either may be asked for, and what they are made of is added by these methods too. */
function keyRaw ({ prototype }: { prototype: object }, ...names: readonly string[]): void {
  for (const name of names) {
    const native = Reflect.get(prototype, name) as Method
    const { [name]: value } = { [name] (this: unknown, key: unknown, ...rest: unknown[]) { return Reflect.apply(native, this, [unwrap(key), ...rest]) as unknown } }
    Object.defineProperty(prototype, name, { value: inPlaceOf(native, value as Method), writable: true, configurable: true, enumerable: false })
  }
}

function compareRaw (owner: object, name: string): void {
  const compare = Reflect.get(owner, name) as Method
  const { [name]: patched } = { [name] (this: unknown, ...args: unknown[]) { return compare.apply(this, args.map((arg, index) => index < 2 ? unwrap(arg) : arg)) } }
  Object.assign(owner, { [name]: patched })
}

export function patchIdentity (): void {
  for (const name of ['includes', 'indexOf', 'lastIndexOf'] as const) searchEither(name)
  for (const owner of [assert, assert.strict]) for (const name of ['equal', 'notEqual', 'strictEqual', 'notStrictEqual']) compareRaw(owner, name)
  for (const [Class, ...names] of [[Map, 'get', 'set', 'has', 'delete'], [WeakMap, 'get', 'set', 'has', 'delete'], [Set, 'add', 'has', 'delete'], [WeakSet, 'add', 'has', 'delete']] as const) keyRaw(Class, ...names)
  cloneRaw(globalThis, 'structuredClone')
  // Workers post by a port, their workerData too.
  cloneRaw(MessagePort.prototype, 'postMessage')
  cloneRaw(BroadcastChannel.prototype, 'postMessage')
  cloneRaw(v8, 'serialize')
  module.syncBuiltinESMExports()
  const { is } = Object
  Object.is = (a, b) => is(unwrap(a), unwrap(b))
}
