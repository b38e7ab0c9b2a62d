/** What makes code a context: requests by hooks, background tasks and locks by what other plugins offer. */
import { subscribe, unsubscribe, type ChannelListener } from 'node:diagnostics_channel'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { TaskFunction } from '../tasks/index.ts'
import { Context, currentContext, runIn } from './context.ts'
import { attempt } from './failure.ts'
import { unwrapDeep } from './tracked.ts'

const instrumented = new WeakSet<object>()

/** Makes the requests and tasks of an app contexts, once. */
export function instrument (app: FastifyInstance): void {
  if (instrumented.has(app.server)) return
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
    if (context === undefined) contexts.set(request, context = new Context(`request ${request.id} ${request.method} ${request.url}`, app.server))
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
  submit (id: string, fn: TaskFunction<unknown>, ...rest: unknown[]): unknown
}

/**
 * Returns a decorator of the app, if it has all of the methods: an application may have a decorator of that name that is none of ours. The suite
 * answers for a part that is off with a getter that throws, so hasDecorator() alone would be wrong.
 */
function decoratorOf (app: FastifyInstance, name: 'tasks' | 'workers', methods: readonly string[]): unknown {
  if (!app.hasDecorator(name)) return undefined
  try {
    const decorator = Object(app[name]) as object
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
    tasks.submit = (id, fn, ...rest) => submit.call(tasks, id, inContext(id, fn) as TaskFunction<unknown>, ...rest)
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
