/**
 * Patches what starts an operation, so that it parks while an exploration runs. At other times a patched function does what the original does, so
 * a module may keep one. Only what runs for a request is scheduled; the test, and Fastify's own boot, go on as ever.
 */
import { AsyncResource } from 'node:async_hooks'
import dns from 'node:dns'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import timersPromises from 'node:timers/promises'
import timers from 'node:timers'
import { promisify } from 'node:util'
import { captureStack } from '../sites.ts'
import * as check from '../check.ts'
import { type Context, currentContext } from '../context.ts'
import { attempt } from '../failure.ts'
import type { Scheduler } from './scheduler.ts'
import { VirtualTimer } from './virtual-timer.ts'

type Fn = (...args: never[]) => unknown

/** Operations that return a promise. Others of these modules are constants, classes or watchers that never end. */
const operations = {
  fs: ['access', 'appendFile', 'chmod', 'copyFile', 'cp', 'link', 'lstat', 'mkdir', 'mkdtemp', 'open', 'readFile', 'readdir', 'readlink', 'realpath', 'rename', 'rm', 'rmdir', 'stat', 'symlink', 'truncate', 'unlink', 'utimes', 'writeFile'],
  dns: ['lookup', 'lookupService', 'resolve', 'resolve4', 'resolve6', 'resolveAny', 'resolveCname', 'resolveMx', 'resolveNs', 'resolveSrv', 'resolveTxt', 'reverse']
}

let active: Scheduler | undefined

/** Parks operations with a scheduler from now on. Returns a function that ends that. */
export function schedule (scheduler: Scheduler): () => void {
  active = scheduler
  return () => { active = undefined }
}

/** Who parks an operation that is about to start: the context for which code runs, in an exploration. */
function parking (): { scheduler: Scheduler, context: Context } | undefined {
  const context = active && currentContext()
  return active && context && { scheduler: active, context }
}

/** Makes a function that starts an operation and returns a promise park first. If it can't park, the operation starts at once. */
const parks = (label: string) => (original: Fn): Fn => function (this: unknown, ...args) {
  const parks = parking()
  const direct = (): unknown => Reflect.apply(original, this, args) as unknown
  if (parks === undefined) return direct()
  const { scheduler, context } = parks
  return new Promise((resolve, reject) => {
    const start = AsyncResource.bind(async (within: <T>(fn: () => T) => T) => {
      const result = within(async () => await direct())
      resolve(result)
      await result
    })
    const signal = signalOf(args)
    signal?.addEventListener('abort', () => { scheduler.cancel(parked); reject(signal.reason as Error) }, { once: true })
    const parked = { name: `${context.party.name}: ${label}`, party: context, delay: 0, isInterval: false, start }
    if (!attempt(() => scheduler.park(parked), false)) resolve((async () => await direct())())
  })
}

/** Replaces a function of an object, and returns how to put it back; undefined if there is none, or it can't be replaced. */
function replaced (owner: object, name: string, create: (original: Fn) => Fn): (() => void) | undefined {
  const own = Object.getOwnPropertyDescriptor(owner, name)
  const original: unknown = Reflect.get(owner, name)
  if (typeof original !== 'function' || (own !== undefined && own.configurable !== true && own.writable !== true)) return undefined
  Object.defineProperty(owner, name, { configurable: own?.configurable ?? true, enumerable: own?.enumerable ?? false, writable: true, value: create(original as Fn) })
  return () => { if (own === undefined) Reflect.deleteProperty(owner, name); else Object.defineProperty(owner, name, own) }
}

/**
 * Makes methods of an app's decorators park, those of a database client for example.
 *
 * @param paths `db.query`, or the name of a decorator that is a function
 * @throws OptionError for a path that leads to no function
 */
export function patchDecorators (app: object, paths: readonly string[]): () => void {
  const undo = paths.map((path) => {
    const names = path.split('.')
    const name = names.pop() ?? ''
    const owner: unknown = names.reduce<unknown>((at, name) => Reflect.get(Object(at) as object, name), app)
    const putBack = replaced(Object(owner) as object, name, parks(path))
    check.ensure(putBack !== undefined, 'explore.operations', 'the path of a function that the app is decorated with', path)
    return putBack
  })
  return () => { for (const each of undo.reverse()) each() }
}

let users = 0
let unpatch = (): void => {}

/** Patches the built-ins. Returns a function that puts them back, when nobody else needs them patched. */
export function patchBuiltIns (): () => void {
  if (users++ === 0) unpatch = patchAll()
  return () => { if (--users === 0) unpatch() }
}

function patchAll (): () => void {
  const undo: Array<() => void> = []
  function replace (owner: object, name: string, create: (original: Fn) => Fn): void {
    const putBack = replaced(owner, name, create)
    if (putBack !== undefined) undo.unshift(putBack)
  }

  /** `setTimeout(callback, ms, …args)`; `setImmediate(callback, …args)` has no ms. */
  const timer = (label: string, hasDelay: boolean, isInterval: boolean) => (original: Fn): Fn => {
    const patched = (callback: (...args: unknown[]) => void, ...rest: unknown[]): unknown => {
      const parks = parking()
      if (parks === undefined || typeof callback !== 'function' || isInternal(patched)) return Reflect.apply(original, globalThis, [callback, ...rest] as never[]) as unknown
      const { scheduler, context } = parks
      const delay = hasDelay ? Number(rest.shift() ?? 0) || 0 : 0
      const name = `${context.party.name}: ${label}${hasDelay ? ` ${delay} ms` : ''}`
      return attempt(() => new VirtualTimer(scheduler, { name, party: context, delay, isInterval }, AsyncResource.bind(() => callback(...rest))), undefined) ??
        Reflect.apply(original, globalThis, [callback, ...hasDelay ? [delay] : [], ...rest] as never[]) as unknown
    }
    return hasPromisify(original) ? Object.assign(patched, { [promisify.custom]: label === 'setTimeout' ? timersPromises.setTimeout : timersPromises.setImmediate }) as Fn : patched as Fn
  }

  const clears = (original: Fn): Fn => (handle: unknown) => handle instanceof VirtualTimer ? handle.close() : Reflect.apply(original, globalThis, [handle] as never[]) as unknown

  /** `setTimeout(ms, value, { signal })` of timers/promises; `setImmediate(value, { signal })` has no ms. */
  const sleeps = (label: string, hasDelay: boolean) => (original: Fn): Fn => async (...args: unknown[]) => {
    const parks = parking()
    if (parks === undefined) return await Reflect.apply(original, undefined, args as never[]) as unknown
    const { scheduler, context } = parks
    const delay = hasDelay ? Number(args.shift() ?? 0) || 0 : 0
    const [value, options] = args as [unknown, { signal?: AbortSignal } | undefined]
    options?.signal?.throwIfAborted()
    return await new Promise((resolve, reject) => {
      const name = `${context.party.name}: ${label}${hasDelay ? ` ${delay} ms` : ''}`
      const sleeping = attempt(() => new VirtualTimer(scheduler, { name, party: context, delay, isInterval: false }, () => resolve(value)), undefined)
      if (sleeping === undefined) return resolve(Reflect.apply(original, undefined, [...hasDelay ? [delay] : [], ...args] as never[]))
      options?.signal?.addEventListener('abort', () => {
        sleeping.close()
        reject(options.signal?.reason as Error)
      }, { once: true })
    })
  }

  replace(timersPromises, 'setTimeout', sleeps('sleep', true))
  replace(timersPromises, 'setImmediate', sleeps('setImmediate', false))
  replace(timersPromises.scheduler, 'wait', (original) => async (...args: unknown[]) => parking() === undefined
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

/** Node's own code and that of inject(). The fetch that Node contains takes its timers from globalThis, and its sockets would wait for virtual ones. */
const INTERNAL = /\(node:|at node:|[\\/]node_modules[\\/](?:fastify|light-my-request)[\\/]/

/** Whether the caller is none of the application's code. */
function isInternal (above: (...args: never[]) => unknown): boolean {
  const site: { stack?: string } = {}
  captureStack(site, 1, above)
  return INTERNAL.test(String(site.stack))
}

function hasPromisify (original: Fn): boolean {
  return promisify.custom in original
}

function signalOf (args: readonly unknown[]): AbortSignal | undefined {
  const last = args.at(-1)
  const signal: unknown = typeof last === 'object' && last !== null && 'signal' in last ? last.signal : undefined
  return signal instanceof AbortSignal ? signal : undefined
}
