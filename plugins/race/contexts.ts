/** What makes code a context: requests by hooks, background tasks and locks by what other plugins offer. */
import { subscribe, unsubscribe, type ChannelListener } from 'node:diagnostics_channel'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { TaskFunction } from '../tasks/index.ts'
import { Context, currentContext, runIn } from './context.ts'
import { unwrapDeep } from './tracked.ts'

const instrumented = new WeakSet<object>()

/** Makes the requests and tasks of an app contexts, once. */
export function instrument (app: FastifyInstance): void {
  if (instrumented.has(app.server)) return
  instrumented.add(app.server)
  trackRequests(app)
  app.addHook('onReady', async () => {
    trackTasks(app)
    unwrapPayloads(app)
  })
}

/**
 * Makes each request a context. Its hook runs twice: a body is parsed in events of the socket, whose async context is not the request's
 * (nodejs/node#34430).
 */
function trackRequests (app: FastifyInstance): void {
  const contexts = new WeakMap<FastifyRequest, Context>()
  const enter = (request: FastifyRequest, _reply: FastifyReply, done: () => void): void => {
    let context = contexts.get(request)
    if (context === undefined) contexts.set(request, context = new Context(`request ${request.id} ${request.method} ${request.url}`, app.server))
    runIn(context, done)
  }
  app.addHook('onRequest', enter)
  app.addHook('preValidation', enter)
}

interface SubmitsTasks {
  submit (id: string, fn: TaskFunction<unknown>, ...rest: unknown[]): unknown
}

/** Returns a decorator of the app. The suite answers for a part that is off with a getter that throws, so hasDecorator() alone would be wrong. */
function decoratorOf (app: FastifyInstance, name: 'tasks' | 'workers'): unknown {
  if (!app.hasDecorator(name)) return undefined
  try {
    return app[name]
  } catch {
    return undefined
  }
}

/** Makes each background task a context of its own: it runs beside the request that submitted it. */
function trackTasks (app: FastifyInstance): void {
  const tasks = decoratorOf(app, 'tasks') as SubmitsTasks & { reserve: (...args: unknown[]) => SubmitsTasks } | undefined
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
  const workers = decoratorOf(app, 'workers') as Record<'run' | 'map', (name: string, payload: unknown, ...rest: unknown[]) => unknown> | undefined
  if (workers === undefined) return
  const { run, map } = workers
  workers.run = (name, payload, ...rest) => run.call(workers, name, unwrapDeep(payload), ...rest)
  workers.map = (name, items, ...rest) => map.call(workers, name, Symbol.iterator in Object(items) ? Array.from(items as Iterable<unknown>, (item) => unwrapDeep(item)) : items, ...rest)
}

/** Notes which locks a context holds, as the locks plugin publishes it. Returns a function that ends that. */
export function trackLocks (): () => void {
  const holders = new WeakMap<object, Context>()
  const acquired: ChannelListener = (message) => {
    const { hold, name, id } = message as { hold: object, name: string, id: string }
    const context = currentContext()
    if (context === undefined) return
    holders.set(hold, context)
    context.locks.set(hold, `${name}(${JSON.stringify(id)})`)
  }
  const released: ChannelListener = (message) => {
    const { hold } = message as { hold: object }
    holders.get(hold)?.locks.delete(hold)
  }
  subscribe('fastify-concurrency:locks:acquired', acquired)
  subscribe('fastify-concurrency:locks:released', released)
  return () => {
    unsubscribe('fastify-concurrency:locks:acquired', acquired)
    unsubscribe('fastify-concurrency:locks:released', released)
  }
}
