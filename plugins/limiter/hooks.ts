/** The hooks of a request. A hook answers a refusal itself, because throwing an error costs twice as much as serving a request. */
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, preHandlerHookHandler, RouteOptions } from 'fastify'
import { isRefusal, wholeSeconds } from '../shared/coded-error.ts'
import { limitedMessage, LimitedError } from '../shared/errors.ts'
import { endUpgrade } from '../shared/http/end-upgrade.ts'
import { sendError } from '../shared/http/send-error.ts'
import { classOf, type RefusalClass } from '../shared/refusal-log.ts'
import type { Check, Decide, PolicyCharge } from './decision.ts'
import { after, asError, isPromise, type MaybePromise } from './functions.ts'
import type { LimitLedger } from './ledger.ts'
import { setFields, setLegacyFields, setRefusalFields } from './headers.ts'
import type { Stage } from './policies/policy.ts'
import type { ResolvedRefusal } from './policies/resolve.ts'
import type { ReplyCharges } from './reply-charges.ts'
import type { Decision } from './stores/store.ts'

export interface AnswerSettings extends ResolvedRefusal {
  ledger: LimitLedger
  legacyHeaders: boolean
  /** Undefined if no policy has `charge`. */
  replyCharges: ReplyCharges | undefined
  /** Counts each refusal that is answered. */
  countRefused: (refused: RefusalClass) => void
}

export type Hook = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void

/** Makes the hook of a stage. The hook calls `done` or answers the request, without a promise where nothing is asynchronous. */
export function createHook (stage: Stage, decide: Decide, settings: AnswerSettings): Hook {
  const hook: Hook = (request, reply, done) => {
    let answered: MaybePromise<boolean>
    try {
      answered = after(decide(stage, request), (check) => answer(check, settings, request, reply))
    } catch (error) {
      return answerError(error, settings, request, reply, done)
    }
    if (isPromise(answered)) answered.then((answered) => { if (!answered) done() }, (error: unknown) => answerError(error, settings, request, reply, done))
    else if (!answered) done()
  }
  // The boot checks look for this name in the print of the routes.
  return Object.defineProperty(hook, 'name', { value: stage === 'onRequest' ? 'limiterOnRequest' : 'limiterPreHandler' })
}

/** Makes the hooks the last preHandlers of the route, and keeps them the last ones whatever onRoute hooks add, replace or push. */
export function keepLast (route: Pick<RouteOptions, 'preHandler'>, last: readonly preHandlerHookHandler[]): void {
  let hooks: preHandlerHookHandler[] = []
  const set = (value: RouteOptions['preHandler']): void => {
    hooks = [...([value ?? []].flat() as preHandlerHookHandler[]).filter((other) => !last.includes(other)), ...last]
  }
  const get = (): preHandlerHookHandler[] => {
    if (!endsWith(hooks, last)) set(hooks)
    return hooks
  }
  set(route.preHandler)
  Object.defineProperty(route, 'preHandler', { get, set, enumerable: true, configurable: true })
}

/** Tells whether the preHandlers of a route end with these hooks. */
export function endsWith (preHandler: RouteOptions['preHandler'], last: readonly preHandlerHookHandler[]): boolean {
  const hooks = [preHandler ?? []].flat() as preHandlerHookHandler[]
  return last.every((hook, index) => hooks[hooks.length - last.length + index] === hook)
}

/** Sets the header fields of a response, and answers a refused request. Returns false if the request is granted. */
function answer (check: Check | undefined, settings: AnswerSettings, request: FastifyRequest, reply: FastifyReply): MaybePromise<boolean> {
  if (check === undefined) return false
  setFields(reply, check)
  if (settings.legacyHeaders) setLegacyFields(reply, check)
  const { decision, earlier, route } = check
  if (decision.granted) {
    for (const { charge } of decision.balances) settings.ledger.granted(charge)
    settings.replyCharges?.add(request, decision)
    return false
  }

  // The answer names the policy with the longest wait, because the request passes when that wait is over.
  const { charge: { limit, key, cost, rate, burst }, tokens, wait, lockedOut } = decision.balances.reduce((a, b) => b.wait > a.wait ? b : a)
  const policy = limit.expose ? limit.name : undefined
  const seconds = wholeSeconds(earlier === undefined ? wait : Math.max(wait, untilAgain(earlier, decision)))
  const refusal = { policy: limit.name, key, cost, retryAfter: seconds, lockedOut, requestId: request.id }
  settings.ledger.refused(refusal, { tokens, rate, burst }, request)
  endUpgrade(request, reply)
  settings.countRefused({ code: 'FC_ERR_LIMITED', policy: limit.name })
  setRefusalFields(reply, seconds)
  const onExceeded = route.onExceeded ?? limit.onExceeded ?? settings.onExceeded
  const body = route.body ?? limit.body ?? settings.body
  return after(onExceeded?.(request, refusal), () => {
    if (body === undefined) {
      // No error is made here, to save its cost: only the application's `body` gets one.
      const message = limitedMessage(policy, seconds)
      sendError(reply, { statusCode: 429, code: 'FC_ERR_LIMITED', message }, { policy, retryAfter: seconds })
      return true
    }
    return after(body(request, new LimitedError(policy, seconds, lockedOut)), (body) => {
      reply.code(429).send(body)
      return true
    })
  })
}

/**
 * Returns the time, in ms after the later stage's decision, until a request that the earlier stage granted could pass that stage again. The
 * tokens that the request took in the earlier stage stay spent when the later stage refuses.
 */
function untilAgain (earlier: Decision<PolicyCharge>, later: Decision): number {
  const wait = Math.max(0, ...earlier.balances.map(({ charge: { cost, rate }, tokens }) => (cost - tokens) * 1000 / rate))
  // Two stores have two clocks, whose times can't be compared.
  return earlier.store === later.store ? wait - Math.max(0, later.at - earlier.at) : wait
}

interface Refusal extends Error {
  code: string
  statusCode: number
  headers?: Record<string, string>
}

/** Answers a thrown refusal (401 or 503). Any other error is the application's own, and its error handler answers: no request passes. */
function answerError (error: unknown, { countRefused }: AnswerSettings, request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
  endUpgrade(request, reply)
  if (!isRefusal(error)) return done(asError(error))
  const refusal = error as Refusal
  try {
    countRefused(classOf(refusal))
    setRefusalFields(reply)
    sendError(reply.headers(refusal.headers ?? {}), refusal)
  } catch (error) {
    done(asError(error))
  }
}
