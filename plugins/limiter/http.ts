/** The HTTP side: a request's plan is decided in a hook, which answers a refusal itself, since throwing costs twice what serving does. */
import { STATUS_CODES } from 'node:http'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { isRefusal, LimitedError } from '../errors.ts'
import { rejected } from './channels.ts'
import { retryAfter, setFields, setLegacyFields } from './headers.ts'
import { isPromise, type MaybePromise } from './maybe.ts'
import type { Plan } from './plan.ts'
import type { Stage } from './policies.ts'

export interface AnswerSettings {
  legacyHeaders: boolean
  /** Called for each refusal that is answered. */
  onRefused: (code: string) => void
  /** Replaces the body of a 429. */
  body: ((request: FastifyRequest, error: LimitedError) => unknown) | undefined
}

interface Refused extends Error {
  code: string
  statusCode: number
  headers?: Record<string, string>
}

/** What Fastify's own error handler would send. */
function describe ({ statusCode, code, message }: Refused): object {
  return { statusCode, code, error: STATUS_CODES[statusCode], message }
}

/** And which policy it was, if it is exposed, and when to try again. */
function describeLimited (error: LimitedError): object {
  return { ...describe(error as Refused), policy: error.policy, retryAfter: error.retryAfter }
}

function answer (reply: FastifyReply, error: Refused, body: unknown): FastifyReply {
  return reply.code(error.statusCode).headers({ 'cache-control': 'no-store', ...error.headers }).send(body)
}

/** The policy that the request has to wait longest for, and so the one whose wait lets it pass. */
function refusing ({ policies, demands, verdict }: Plan): { error: LimitedError, name: string, key: string, cost: number } {
  let longest = 0
  for (let i = 1; i < policies.length; i++) {
    if (verdict!.outcomes[i]!.wait > verdict!.outcomes[longest]!.wait) longest = i
  }
  const { name, expose } = policies[longest]!
  const { key, cost } = demands[longest]!
  return { error: new LimitedError(expose ? name : undefined, retryAfter(verdict!.outcomes[longest]!.wait)), name, key, cost }
}

/** Answers a refused plan; false if it is granted. */
function answered (plan: Plan, stage: Stage, settings: AnswerSettings, request: FastifyRequest, reply: FastifyReply): boolean {
  if (plan.demands.length === 0) return false
  setFields(reply, plan, stage)
  if (settings.legacyHeaders) setLegacyFields(reply, plan)
  if (plan.verdict!.granted) return false

  const { error, name, key, cost } = refusing(plan)
  if (rejected.hasSubscribers) rejected.publish({ policy: name, key, cost, retryAfter: error.retryAfter, requestId: request.id })
  settings.onRefused(error.code)
  answer(reply, error as Refused, settings.body === undefined ? describeLimited(error) : settings.body(request, error))
  return true
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
    return fail(error, settings, reply, done)
  }
  if (!isPromise(plan)) return conclude(plan, stage, settings, request, reply, done)
  plan.then((plan) => conclude(plan, stage, settings, request, reply, done), (error: unknown) => fail(error, settings, reply, done))
}

function conclude (
  plan: Plan, stage: Stage, settings: AnswerSettings, request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction
): void {
  let refused: boolean
  try {
    refused = answered(plan, stage, settings, request, reply)
  } catch (error) {
    return done(error as Error)
  }
  if (!refused) done()
}

/** A refusal is answered. Whatever else a policy's functions throw is the application's own error: its error handler answers, and nobody passes. */
function fail (error: unknown, settings: AnswerSettings, reply: FastifyReply, done: HookHandlerDoneFunction): void {
  if (!isRefusal(error)) return done(error as Error)
  settings.onRefused((error as Refused).code)
  answer(reply, error as Refused, describe(error as Refused))
}
