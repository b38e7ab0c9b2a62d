/** Patches what starts an operation, so that it parks. All is put back by the function that install() returns. */
import { AsyncResource } from 'node:async_hooks'
import dns from 'node:dns'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import timersPromises from 'node:timers/promises'
import timers from 'node:timers'
import { promisify } from 'node:util'
import { currentContext } from '../context.ts'
import type { Scheduler } from './scheduler.ts'
import { VirtualTimer } from './virtual-timer.ts'

type Fn = (...args: never[]) => unknown

/** Operations that return a promise. Others of these modules are constants, classes or watchers that never end. */
const operations = {
  fs: ['access', 'appendFile', 'chmod', 'copyFile', 'cp', 'link', 'lstat', 'mkdir', 'mkdtemp', 'open', 'readFile', 'readdir', 'readlink', 'realpath', 'rename', 'rm', 'rmdir', 'stat', 'symlink', 'truncate', 'unlink', 'utimes', 'writeFile'],
  dns: ['lookup', 'lookupService', 'resolve', 'resolve4', 'resolve6', 'resolveAny', 'resolveCname', 'resolveMx', 'resolveNs', 'resolveSrv', 'resolveTxt', 'reverse']
}

/** Only what runs for a request is scheduled; the test, and Fastify's own boot, go on as ever. */
export function install (scheduler: Scheduler): () => void {
  const undo: Array<() => void> = []
  function replace (owner: object, name: string, create: (original: Fn) => Fn): void {
    const descriptor = Object.getOwnPropertyDescriptor(owner, name)
    if (descriptor === undefined || (descriptor.configurable !== true && descriptor.writable !== true)) return
    const original: unknown = Reflect.get(owner, name)
    if (typeof original !== 'function') return
    Object.defineProperty(owner, name, { configurable: true, enumerable: descriptor.enumerable ?? true, writable: true, value: create(original as Fn) })
    undo.unshift(() => Object.defineProperty(owner, name, descriptor))
  }

  const parks = (label: string) => (original: Fn): Fn => function (this: unknown, ...args) {
    const context = currentContext()
    if (context === undefined) return Reflect.apply(original, this, args) as unknown
    return new Promise((resolve, reject) => {
      const start = AsyncResource.bind(async () => {
        const result = Reflect.apply(original, this, args) as Promise<unknown>
        resolve(result)
        await result
      })
      const signal = signalOf(args)
      signal?.addEventListener('abort', () => { scheduler.cancel(parked); reject(signal.reason as Error) }, { once: true })
      const parked = { name: `${context.name}: ${label}`, party: context, delay: 0, isInterval: false, start }
      scheduler.park(parked)
    })
  }

  /** `setTimeout(callback, ms, …args)`; `setImmediate(callback, …args)` has no ms. */
  const timer = (label: string, hasDelay: boolean, isInterval: boolean) => (original: Fn): Fn => {
    const patched = (callback: (...args: unknown[]) => void, ...rest: unknown[]): unknown => {
      const context = isInternal(patched) ? undefined : currentContext()
      if (context === undefined || typeof callback !== 'function') return Reflect.apply(original, globalThis, [callback, ...rest] as never[]) as unknown
      const delay = hasDelay ? Number(rest.shift() ?? 0) || 0 : 0
      const name = `${context.name}: ${label}${hasDelay ? ` ${delay} ms` : ''}`
      return new VirtualTimer(scheduler, { name, party: context, delay, isInterval }, AsyncResource.bind(() => callback(...rest)))
    }
    return hasPromisify(original) ? Object.assign(patched, { [promisify.custom]: label === 'setTimeout' ? timersPromises.setTimeout : timersPromises.setImmediate }) as Fn : patched as Fn
  }

  const clears = (original: Fn): Fn => (handle: unknown) => handle instanceof VirtualTimer ? handle.close() : Reflect.apply(original, globalThis, [handle] as never[]) as unknown

  /** `setTimeout(ms, value, { signal })` of timers/promises; `setImmediate(value, { signal })` has no ms. */
  const sleeps = (label: string, hasDelay: boolean) => (original: Fn): Fn => async (...args: unknown[]) => {
    const context = currentContext()
    if (context === undefined) return await Reflect.apply(original, undefined, args as never[]) as unknown
    const delay = hasDelay ? Number(args.shift() ?? 0) || 0 : 0
    const [value, options] = args as [unknown, { signal?: AbortSignal } | undefined]
    options?.signal?.throwIfAborted()
    return await new Promise((resolve, reject) => {
      const name = `${context.name}: ${label}${hasDelay ? ` ${delay} ms` : ''}`
      const sleeping = new VirtualTimer(scheduler, { name, party: context, delay, isInterval: false }, () => resolve(value))
      options?.signal?.addEventListener('abort', () => {
        sleeping.close()
        reject(options.signal?.reason as Error)
      }, { once: true })
    })
  }

  replace(timersPromises, 'setTimeout', sleeps('sleep', true))
  replace(timersPromises, 'setImmediate', sleeps('setImmediate', false))
  replace(timersPromises.scheduler, 'wait', (original) => async (...args: unknown[]) => currentContext() === undefined
    ? await Reflect.apply(original, timersPromises.scheduler, args as never[]) as unknown
    : await timersPromises.setTimeout(args[0] as number, undefined, args[1] as object))
  for (const owner of [globalThis, timers]) {
    replace(owner, 'setTimeout', timer('setTimeout', true, false))
    replace(owner, 'setInterval', timer('setInterval', true, true))
    replace(owner, 'setImmediate', timer('setImmediate', false, false))
    for (const name of ['clearTimeout', 'clearInterval', 'clearImmediate']) replace(owner, name, clears)
  }
  for (const name of operations.fs) replace(fs.promises, name, parks(`fs.${name}`))
  for (const name of operations.dns) replace(dns.promises, name, parks(`dns.${name}`))
  replace(globalThis, 'fetch', parks('fetch'))
  syncBuiltinESMExports()
  return () => {
    for (const each of undo) each()
    syncBuiltinESMExports()
  }
}

/** Whether Node itself calls: the fetch that it contains takes its timers from globalThis, and its sockets would wait for virtual ones. */
function isInternal (above: (...args: never[]) => unknown): boolean {
  const { stackTraceLimit } = Error
  const site: { stack?: string } = {}
  Error.stackTraceLimit = 1
  Error.captureStackTrace(site, above)
  Error.stackTraceLimit = stackTraceLimit
  return site.stack?.includes('(node:') === true || site.stack?.includes('at node:') === true
}

function hasPromisify (original: Fn): boolean {
  return promisify.custom in original
}

function signalOf (args: readonly unknown[]): AbortSignal | undefined {
  const last = args.at(-1)
  const signal: unknown = typeof last === 'object' && last !== null && 'signal' in last ? last.signal : undefined
  return signal instanceof AbortSignal ? signal : undefined
}
