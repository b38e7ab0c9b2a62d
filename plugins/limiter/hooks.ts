/** The hooks of a request. A hook answers a refusal itself, since throwing it costs twice what serving does. */
import { STATUS_CODES } from 'node:http'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, preHandlerHookHandler, RouteOptions } from 'fastify'
import { isRefusal, limitedMessage, LimitedError } from '../shared/errors.ts'
import { refused } from './channels.ts'
import type { Check, Decide, PolicyCharge } from './decision.ts'
import { after, asError, isPromise, type MaybePromise } from './functions.ts'
import { setFields, setLegacyFields } from './headers.ts'
import { retryAfter } from './structured-fields.ts'
import type { ResolvedRefusal, Stage } from './policies.ts'
import type { Decision } from './stores/store.ts'

export interface AnswerSettings extends ResolvedRefusal {
  legacyHeaders: boolean
  /** Counts each refusal that is answered. */
  countRefused: (code: string) => void
}

export type Hook = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void

/** Makes the hook of a stage: it calls `done` or answers, without a promise where nothing is asynchronous. */
export function createHook (stage: Stage, decide: Decide, settings: AnswerSettings): Hook {
  const hook: Hook = (request, reply, done) => {
    let answered: MaybePromise<boolean>
    try {
      const check = decide(stage, request)
      answered = isPromise(check) ? check.then((check) => answer(check, settings, request, reply)) : answer(check, settings, request, reply)
    } catch (error) {
      return answerError(error, settings, request, reply, done)
    }
    if (isPromise(answered)) answered.then((answered) => { if (!answered) done() }, (error: unknown) => answerError(error, settings, request, reply, done))
    else if (!answered) done()
  }
  // The name tells a route that escapes from one that doesn't.
  return Object.defineProperty(hook, 'name', { value: stage === 'onRequest' ? 'limiterOnRequest' : 'limiterPreHandler' })
}

/** Keeps the hook on the route, last unless a later plugin adds another one, even if an onRoute hook replaces `preHandler`. */
export function keepLast (route: RouteOptions, hook: preHandlerHookHandler): void {
  let hooks: preHandlerHookHandler[] = []
  const set = (value: RouteOptions['preHandler']): void => {
    hooks = [value ?? []].flat() as preHandlerHookHandler[]
    if (!hooks.includes(hook)) hooks.push(hook)
  }
  set(route.preHandler)
  Object.defineProperty(route, 'preHandler', { get: () => hooks, set, enumerable: true, configurable: true })
}

/** Sets the fields of a response, and answers a request that is refused; false if the request is granted. */
function answer (check: Check | undefined, settings: AnswerSettings, request: FastifyRequest, reply: FastifyReply): MaybePromise<boolean> {
  if (check === undefined) return false
  setFields(reply, check)
  if (settings.legacyHeaders) setLegacyFields(reply, check)
  const { decision, earlier, route } = check
  if (decision.granted) return false

  // The policy whose wait is over last is the one that lets the request pass.
  const { charge: { limit, key, cost }, wait } = decision.balances.reduce((a, b) => b.wait > a.wait ? b : a)
  const policy = limit.expose ? limit.name : undefined
  const seconds = retryAfter(earlier === undefined ? wait : Math.max(wait, untilAgain(earlier, decision)))
  const refusal = { policy: limit.name, key, cost, retryAfter: seconds, requestId: request.id }
  refused.publish(refusal)
  endUpgrade(request, reply)
  settings.countRefused('FC_ERR_LIMITED')
  reply.header('retry-after', String(seconds))
  const onExceeded = route.onExceeded ?? limit.onExceeded ?? settings.onExceeded
  const body = route.body ?? limit.body ?? settings.body
  return after(onExceeded?.(request, refusal), () => {
    if (body === undefined) {
      // Without an error: an error is made only for a body of the application's.
      send(reply, 429, 'FC_ERR_LIMITED', limitedMessage(policy, seconds), policy, seconds)
      return true
    }
    return after(body(request, new LimitedError(policy, seconds)), (body) => {
      reply.code(429).header('cache-control', 'no-store').send(body)
      return true
    })
  })
}

/**
 * Returns how many ms after a later stage's decision a request that the earlier stage granted could pass the earlier stage again: the
 * tokens
 * that it took there are spent, also if the later stage refuses.
 */
function untilAgain (earlier: Decision<PolicyCharge>, later: Decision): number {
  const wait = Math.max(0, ...earlier.balances.map(({ charge: { cost, rate }, tokens }) => (cost - tokens) * 1000 / rate))
  // Another store has another clock.
  return earlier.store === later.store ? wait - Math.max(0, later.at - earlier.at) : wait
}

/**
 * Sends what Fastify's own error handler would, and for a limit which policy refused, if it is exposed, and when to try again. The body is
 * text: an object passes serializers and hooks, which cost a refusal as much as all else that it does.
 */
function send (reply: FastifyReply, statusCode: number, code: string, message: string, policy?: string, retryAfter?: number): void {
  const body = JSON.stringify({ statusCode, code, error: STATUS_CODES[statusCode], message, policy, retryAfter })
  reply.code(statusCode).header('cache-control', 'no-store').header('content-type', 'application/json; charset=utf-8').send(body)
}

/**
 * Closes the connection of a request for an upgrade once the request is answered. Node lets go of such a connection before Fastify sees the
 * request, and nobody would close it if a plugin for WebSockets is registered after us, because its hooks don't see what is refused here:
 * clients could pile up connections by being refused.
 */
function endUpgrade ({ raw }: FastifyRequest, reply: FastifyReply): void {
  if ((raw as { upgrade?: boolean }).upgrade !== true) return
  reply.header('connection', 'close')
  reply.raw.once('finish', () => raw.socket?.destroySoon())
}

interface Refusal extends Error {
  code: string
  statusCode: number
  headers?: Record<string, string>
}

/**
 * Answers a refusal. Whatever else a policy's functions throw is the application's own error: its error handler answers, and nobody passes.
 */
function answerError (error: unknown, { countRefused }: AnswerSettings, request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
  endUpgrade(request, reply)
  if (!isRefusal(error)) return done(asError(error))
  const { statusCode, code, message, headers = {} } = error as Refusal
  try {
    countRefused(code)
    send(reply.headers(headers), statusCode, code, message)
  } catch (error) {
    done(asError(error))
  }
}
