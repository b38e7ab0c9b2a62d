/**
 * Observes what runs for a request: its handler, its error handlers and its onResponse hooks.
 *
 * Functions are replaced in the context of a route, which only Fastify sees and calls. Other plugins keep the functions that they
 * were given: @fastify/websocket takes a route's handler for its sockets, and @fastify/otel names spans after it. Arguments, `this` and the
 * returned value pass unchanged, by identity. `then` is never called on the returned value: a lazy query would run twice.
 *
 * Rejected: Fastify's tracing channel `fastify.request.handler`. With a subscriber, an error handler that sets no status code answers 500
 * instead of 200, in every application of the process; and the channel tells nothing of not-found handlers and hijacked replies.
 * Rejected: an onRoute hook, which doesn't see not-found handlers, nor routes that were added before an `app.register()` that nobody awaited.
 *
 * The context is private to Fastify; test/lifecycle/pinning.test.ts pins what is used of it. Without it nothing is observed, and requests are
 * held by their responses alone.
 */
import { types } from 'node:util'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { kRequestWork, type RequestWork } from '../../shared/http/request-work.ts'
import { contextOf, privateOf } from '../../shared/private.ts'

/** Observer is notified when something of a request begins or ends to run. */
export interface Observer {
  began (): void
  /**
   * A function has returned, or its promise has settled.
   *
   * @param answers whether Fastify has now answered by itself, if it is to answer at all
   */
  ended (answers: boolean): void
  /** The function returned a thenable that isn't a native promise: only its answer tells when it has settled. */
  returnedThenable (): void
}

/** Returns the observer of a request, which has entered by way of requests.ts. */
function observerOf (request: FastifyRequest): Observer | null | undefined {
  return request[kRequestWork] as (RequestWork & Observer) | null | undefined
}

type Handler = (this: unknown, request: FastifyRequest, reply: FastifyReply) => unknown
type ErrorFunction = (this: unknown, error: unknown, request: FastifyRequest, reply: FastifyReply) => unknown
type Hook = (this: unknown, request: FastifyRequest, reply: FastifyReply, next: (error?: unknown) => void) => unknown

/** An error handler; its prototype is the handler of the context around it. */
interface ErrorHandler {
  func?: ErrorFunction
}

const kObserved = Symbol('fastify-concurrency.observed')

/** What Fastify keeps for a route, or for the not-found handler of a prefix. */
interface Context {
  handler: Handler
  errorHandler?: ErrorHandler
  onResponse: Hook[] | null
  [kObserved]?: true
}

/** Tells whether the boot has come to its onReady hooks, and waits for one. */
export function runsReadyHooks (app: FastifyInstance): boolean {
  return privateOf<{ booting?: boolean }>(app, 'fastify.state')?.booting === true
}

/** Observes the context of the request from now on, for all its requests. Once is enough: a second call costs a property read. */
export function observe (request: FastifyRequest): void {
  const context = contextOf<Context>(request)
  if (context === undefined || context[kObserved] === true) return
  context[kObserved] = true
  if (typeof context.handler === 'function') context.handler = observedFunction(context.handler)
  if (context.errorHandler !== undefined) context.errorHandler = observedErrorHandler(context.errorHandler)
  if (Array.isArray(context.onResponse)) context.onResponse = context.onResponse.map((hook) => observedHook(hook))
}

/** Observes a handler or an error handler: the last two arguments of either are the request and the reply. */
function observedFunction<F extends Handler | ErrorFunction> (original: F): F {
  const call = original as (this: unknown, ...args: unknown[]) => unknown
  return named(original, function (this: unknown, ...args: unknown[]) {
    const [request, reply] = args.slice(-2) as [FastifyRequest, FastifyReply]
    const observer = observerOf(request)
    if (observer == null) return call.apply(this, args)
    observer.began()
    let result: unknown
    try {
      result = call.apply(this, args)
    } catch (error) {
      observer.ended(false)
      throw error
    }
    follow(result, reply, observer)
    return result
  } as F)
}

/** The handlers themselves stay as they are, since several contexts share them and `app.errorHandler` shows them. */
function observedErrorHandler (errorHandler: ErrorHandler): ErrorHandler {
  const around = Object.getPrototypeOf(errorHandler) as ErrorHandler | null
  const { func } = errorHandler
  // The outermost is Fastify's own, which answers before it returns.
  if (around === null || around === Object.prototype || !Object.hasOwn(errorHandler, 'func') || func === undefined) return errorHandler
  const observed = Object.create(observedErrorHandler(around)) as ErrorHandler
  observed.func = observedFunction(func)
  return observed
}

function observedHook (hook: Hook): Hook {
  return named(hook, function (request, reply, next) {
    const observer = observerOf(request)
    if (observer == null) return hook.call(this, request, reply, next)
    observer.began()
    let running = true
    const ended = (): void => {
      if (running) observer.ended(true)
      running = false
    }
    let result: unknown
    try {
      result = hook.call(this, request, reply, (error) => {
        // The next hook begins before this one ends: the request is never idle in between.
        next(error)
        ended()
      })
    } catch (error) {
      ended()
      throw error
    }
    if (isPromise(result)) void Promise.prototype.then.call(result, ended, ended)
    return result
  })
}

function follow (result: unknown, reply: FastifyReply, observer: Observer): void {
  if (isPromise(result)) {
    void Promise.prototype.then.call(result, () => observer.ended(true), () => observer.ended(false))
    return
  }
  if (result !== reply && typeof result === 'object' && result !== null && 'then' in result) observer.returnedThenable()
  observer.ended(false)
}

/** Tells whether a value is a plain promise. A subclass may have a `then` or a constructor with side effects, so it isn't followed. */
function isPromise (value: unknown): value is Promise<unknown> {
  return types.isPromise(value) && Object.getPrototypeOf(value) === Promise.prototype && !Object.hasOwn(value, 'then')
}

function named<F extends (...args: never[]) => unknown> (original: F, replacement: F): F {
  Object.defineProperty(replacement, 'name', { value: original.name, configurable: true })
  Object.defineProperty(replacement, 'length', { value: original.length, configurable: true })
  return replacement
}
