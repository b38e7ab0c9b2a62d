/** Makes built-in functions that clone or compare a value take the value itself where a proxy stands for it. */
import module from 'node:module'
import v8 from 'node:v8'
import { BroadcastChannel, MessagePort } from 'node:worker_threads'
import { attempt } from '../failure.ts'
import { unwrap, unwrapDeep } from '../tracked.ts'

/** A Proxy can't be cloned. */
function cloneRaw<Name extends string> (owner: Record<Name, (value: never, ...rest: never[]) => unknown>, name: Name): void {
  const clone = owner[name] as (value: unknown, ...rest: unknown[]) => unknown
  Object.assign(owner, { [name]: function (this: unknown, value: unknown, ...rest: unknown[]) { return clone.call(this, attempt(() => unwrapDeep(value), value), ...rest) } })
}

export function patchIdentity (): void {
  cloneRaw(globalThis, 'structuredClone')
  // Workers post by a port, their workerData too.
  cloneRaw(MessagePort.prototype, 'postMessage')
  cloneRaw(BroadcastChannel.prototype, 'postMessage')
  cloneRaw(v8, 'serialize')
  module.syncBuiltinESMExports()
  const { is } = Object
  Object.is = (a, b) => is(unwrap(a), unwrap(b))
}
