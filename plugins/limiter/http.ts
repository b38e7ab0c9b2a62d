/** The HTTP side: a request's plan is decided in a hook, which answers a refusal itself, since throwing costs twice what serving does. */
import { STATUS_CODES } from 'node:http'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { isRefusal, limitedMessage, LimitedError } from '../shared/errors.ts'
import { rejected } from './channels.ts'
import { asError } from './functions.ts'
import { retryAfter, setFields, setLegacyFields } from './headers.ts'
import { after, isPromise, type MaybePromise } from './maybe.ts'
import { untilAgain, type Plan } from './plan.ts'
import type { Stage } from './policies.ts'

export interface AnswerSettings {
  legacyHeaders: boolean
  /** Called for each refusal that is answered. */
  onRefused: (code: string) => void
  /** Replaces the body of a 429. */
  body: ((request: FastifyRequest, error: LimitedError) => MaybePromise<unknown>) | undefined
}

/** The policy that the request has to wait longest for, and so the one whose wait lets it pass. */
function longestWait ({ policies, verdict }: Plan): number {
  let longest = 0
  for (let i = 1; i < policies.length; i++) {
    if (verdict!.outcomes[i]!.wait > verdict!.outcomes[longest]!.wait) longest = i
  }
  return longest
}

/**
 * Sends what Fastify's own error handler would, and of a limit which policy it was, if it is exposed, and when to try again. As text: an
 * object goes by way of serializers and hooks, which cost a refusal as much as all else that it does.
 */
function send (reply: FastifyReply, statusCode: number, code: string, message: string, policy?: string, retryAfter?: number): void {
  const body = JSON.stringify({ statusCode, code, error: STATUS_CODES[statusCode], message, policy, retryAfter })
  reply.code(statusCode).header('cache-control', 'no-store').header('content-type', 'application/json; charset=utf-8').send(body)
}

/**
 * Closes the connection of a request for an upgrade once it is answered. Node lets go of such a connection before Fastify sees the request,
 * and nobody would close it if a plugin for WebSockets is registered after us: its hooks don't see what is refused here. Clients could
 * pile up connections by being refused.
 */
function endUpgrade ({ raw }: FastifyRequest, reply: FastifyReply): void {
  if ((raw as { upgrade?: boolean }).upgrade !== true) return
  reply.header('connection', 'close')
  reply.raw.once('finish', () => raw.socket?.destroySoon())
}

/** Answers a refused plan; false if it is granted. */
function answered (plan: Plan, stage: Stage, settings: AnswerSettings, request: FastifyRequest, reply: FastifyReply): MaybePromise<boolean> {
  if (plan.verdict === undefined) return false
  setFields(reply, plan, stage)
  if (settings.legacyHeaders) setLegacyFields(reply, plan)
  if (plan.verdict.granted) return false

  const longest = longestWait(plan)
  const { name, expose } = plan.policies[longest]!
  const policy = expose ? name : undefined
  const { wait } = plan.verdict.outcomes[longest]!
  // Whoever comes back has to pass the earlier stage too.
  const seconds = retryAfter(plan.earlier === undefined ? wait : Math.max(wait, untilAgain(plan.earlier, plan.verdict)))
  if (rejected.hasSubscribers) {
    const { key, cost } = plan.demands[longest]!
    rejected.publish({ policy: name, key, cost, retryAfter: seconds, requestId: request.id })
  }
  endUpgrade(request, reply)
  settings.onRefused('FC_ERR_LIMITED')
  reply.header('retry-after', String(seconds))
  if (settings.body === undefined) {
    // Without an error: it is made for a body of the application's only.
    send(reply, 429, 'FC_ERR_LIMITED', limitedMessage(policy, seconds), policy, seconds)
    return true
  }
  return after(settings.body(request, new LimitedError(policy, seconds)), (body) => {
    reply.code(429).header('cache-control', 'no-store').send(body)
    return true
  })
}

/** The decided plan of a request in a stage. Throws or rejects with what the policies' functions throw, or a refusal. */
export type Judge = (stage: Stage, request: FastifyRequest) => MaybePromise<Plan>

/** Decides one stage of a request: answers it if it is refused, else calls `done`. Without a promise where nothing is asynchronous. */
export function decide (
  stage: Stage, judge: Judge, settings: AnswerSettings, request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction
): void {
  let plan: MaybePromise<Plan>
  try {
    plan = judge(stage, request)
  } catch (error) {
    return fail(error, settings, request, reply, done)
  }
  if (!isPromise(plan)) return conclude(plan, stage, settings, request, reply, done)
  plan.then((plan) => conclude(plan, stage, settings, request, reply, done), (error: unknown) => fail(error, settings, request, reply, done))
}

function conclude (
  plan: Plan, stage: Stage, settings: AnswerSettings, request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction
): void {
  let refused: MaybePromise<boolean>
  try {
    refused = answered(plan, stage, settings, request, reply)
  } catch (error) {
    return done(asError(error))
  }
  if (isPromise(refused)) refused.catch((error: unknown) => done(asError(error)))
  else if (!refused) done()
}

interface Refused extends Error {
  code: string
  statusCode: number
  headers?: Record<string, string>
}

/** A refusal is answered. Whatever else a policy's functions throw is the application's own error: its error handler answers, and nobody passes. */
function fail (error: unknown, settings: AnswerSettings, request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
  endUpgrade(request, reply)
  if (!isRefusal(error)) return done(asError(error))
  const { statusCode, code, message, headers } = error as Refused
  try {
    settings.onRefused(code)
    send(reply.headers(headers ?? {}), statusCode, code, message)
  } catch (error) {
    done(asError(error))
  }
}
