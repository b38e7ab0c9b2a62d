/** What makes code a context: requests by hooks, background tasks and locks by what other plugins offer. */
import { subscribe, unsubscribe, type ChannelListener } from 'node:diagnostics_channel'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { RaceError } from './errors.ts'
import { Context, currentContext, currentName, runIn } from './context.ts'
import { detector } from './detector.ts'
import { checkLog, isForked, isRequested } from './environment.ts'
import { attempt } from './failure.ts'
import type { RaceReport } from './reports.ts'
import { requireParser } from './source/parse.ts'
import { unwrapDeep } from './tracked.ts'

const instrumented = new WeakSet<object>()

/** Whether races of an app's requests can be found. */
export function isInstrumented (app: FastifyInstance): boolean {
  return instrumented.has(app.server)
}

/** Makes the requests and tasks of an app contexts, once. */
export function instrument (app: FastifyInstance): void {
  if (isInstrumented(app)) return
  instrumented.add(app.server)
  trackRequests(app)
  app.addHook('onReady', async () => attempt(() => {
    trackTasks(app)
    unwrapPayloads(app)
  }, undefined))
}

/**
 * Makes each request a context. Its hook runs twice: a body is parsed in events of the socket, whose async context is not the request's
 * (nodejs/node#34430).
 */
function trackRequests (app: FastifyInstance): void {
  const contexts = new WeakMap<FastifyRequest, Context>()
  const contextOf = (request: FastifyRequest): Context => {
    let context = contexts.get(request)
    if (context === undefined) contexts.set(request, context = new Context(`${currentName() ?? `request ${request.id}`} ${request.method} ${request.url}`, app.server))
    return context
  }
  const enter = (request: FastifyRequest, _reply: FastifyReply, done: () => void): void => {
    const context = attempt(() => contextOf(request), undefined)
    if (context === undefined) done()
    else runIn(context, done)
  }
  app.addHook('onRequest', enter)
  app.addHook('preValidation', enter)
}

interface SubmitsTasks {
  submit (id: string, fn: unknown, ...rest: unknown[]): unknown
}

/**
 * Returns a decorator of the app, if it has all of the methods: an application may have a decorator of that name that is none of ours. The suite
 * answers for a part that is off with a getter that throws, so hasDecorator() alone would be wrong.
 */
function decoratorOf (app: FastifyInstance, name: 'tasks' | 'workers', methods: readonly string[]): unknown {
  if (!app.hasDecorator(name)) return undefined
  try {
    const decorator = Object(Reflect.get(app, name)) as object
    return methods.every((method) => typeof Reflect.get(decorator, method) === 'function') ? decorator : undefined
  } catch {
    return undefined
  }
}

/** Makes each background task a context of its own: it runs beside the request that submitted it. */
function trackTasks (app: FastifyInstance): void {
  const tasks = decoratorOf(app, 'tasks', ['submit', 'reserve', 'enqueue']) as SubmitsTasks & { reserve: (...args: unknown[]) => SubmitsTasks } | undefined
  if (tasks === undefined) return
  const inContext = (id: string, fn: unknown): unknown => typeof fn !== 'function'
    ? fn
    : (...args: unknown[]): unknown => runIn(new Context(`task ${id}`, app.server), () => Reflect.apply(fn, undefined, args) as unknown)
  const wrap = (tasks: SubmitsTasks): void => {
    const { submit } = tasks
    tasks.submit = (id, fn, ...rest) => submit.call(tasks, id, inContext(id, fn), ...rest)
  }
  const { reserve } = tasks
  wrap(tasks)
  tasks.reserve = (...args) => {
    const place = reserve.apply(tasks, args)
    wrap(place)
    return place
  }
}

/** Sends values themselves to threads: a Proxy can't be cloned. */
function unwrapPayloads (app: FastifyInstance): void {
  const workers = decoratorOf(app, 'workers', ['run', 'map', 'stats']) as Record<'run' | 'map', (name: string, payload: unknown, ...rest: unknown[]) => unknown> | undefined
  if (workers === undefined) return
  const { run, map } = workers
  const plainOf = (value: unknown): unknown => attempt(() => unwrapDeep(value), value)
  workers.run = (name, payload, ...rest) => run.call(workers, name, plainOf(payload), ...rest)
  workers.map = (name, items, ...rest) => map.call(workers, name, Symbol.iterator in Object(items) ? Array.from(items as Iterable<unknown>, (item) => plainOf(item)) : items, ...rest)
}

/** Calls a function with each Fastify instance that is created from now on. Returns a function that ends that. */
export function trackInstances (created: (app: FastifyInstance) => void): () => void {
  // What a subscriber throws would end the process.
  const listener: ChannelListener = (message) => attempt(() => { created((message as { fastify: FastifyInstance }).fastify) }, undefined)
  subscribe('fastify.initialization', listener)
  return () => { unsubscribe('fastify.initialization', listener) }
}

const failing = new WeakSet<object>()

/** Makes `app.close()` reject if a race of the app was confirmed. */
export function failAtClose (app: FastifyInstance): void {
  if (failing.has(app.server)) return
  failing.add(app.server)
  const found = new Map<string, RaceReport>()
  const unlisten = detector.reports.onReport((report, owner, key) => { if (report.isConfirmed && owner === app.server && !found.has(key)) found.set(key, report) })
  app.addHook('onClose', async () => {
    unlisten()
    if (found.size > 0) throw new RaceError(found.size, [...found.values()].map(({ text }) => text).join('\n'))
  })
}

let isStarted = false

/**
 * Looks for races in every Fastify instance that this process creates from now on, if RACE=1 asks for it. Returns whether it does.
 *
 * @throws RaceUnreadableError, OptionInvalidError at the start, if nothing could be confirmed or reported
 */
export function start (): boolean {
  if (!isRequested()) return false
  if (isStarted) return true
  checkLog()
  requireParser()
  isStarted = true
  detector.use()
  trackLocks()
  trackInstances((app) => {
    instrument(app)
    if (isForked()) failAtClose(app)
  })
  return true
}

/** Notes which locks a context holds, as the locks plugin publishes it. Returns a function that ends that. */
export function trackLocks (): () => void {
  const holders = new WeakMap<object, Context>()
  // What a subscriber throws would end the process.
  const acquired: ChannelListener = (message) => attempt(() => {
    const { hold, name, id } = message as { hold: object, name: string, id: string }
    const context = currentContext()
    if (context === undefined) return
    holders.set(hold, context)
    context.locks.set(hold, `${name}(${JSON.stringify(id)})`)
  }, undefined)
  const released: ChannelListener = (message) => attempt(() => {
    const { hold } = message as { hold: object }
    holders.get(hold)?.locks.delete(hold)
  }, undefined)
  subscribe('fastify-concurrency:locks:acquired', acquired)
  subscribe('fastify-concurrency:locks:released', released)
  return () => {
    unsubscribe('fastify-concurrency:locks:acquired', acquired)
    unsubscribe('fastify-concurrency:locks:released', released)
  }
}
