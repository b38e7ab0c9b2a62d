/** The HTTP side: a request's plan is decided in a hook, which answers a refusal itself, since throwing costs twice what serving does. */
import { STATUS_CODES } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { isRefusal, LimitedError } from '../errors.ts'
import { rejected } from './channels.ts'
import { retryAfter, setFields, setLegacyFields } from './headers.ts'
import type { Plan } from './plan.ts'
import type { Stage } from './policies.ts'
import type { Check } from './rate-limit.ts'

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
  policy?: string | undefined
  retryAfter?: number
}

/** What Fastify's own error handler would send, and which policy it was and when to try again. */
function describe ({ statusCode, code, message, policy, retryAfter }: Refused): object {
  return { statusCode, code, error: STATUS_CODES[statusCode], message, policy, retryAfter }
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

/** Decides one stage of a request and, if it is refused, answers it. */
export async function decide (
  stage: Stage, check: Check, settings: AnswerSettings, request: FastifyRequest, reply: FastifyReply
): Promise<FastifyReply | undefined> {
  let plan: Plan
  try {
    plan = (await check(request)).key
  } catch (error) {
    // Whatever else a policy's functions throw is the application's own error: its error handler answers, and nobody passes.
    if (!isRefusal(error)) throw error
    settings.onRefused((error as Refused).code)
    return answer(reply, error as Refused, describe(error as Refused))
  }
  if (plan.demands.length === 0) return undefined
  setFields(reply, plan, stage)
  if (settings.legacyHeaders) setLegacyFields(reply, plan)
  if (plan.verdict!.granted) return undefined

  const { error, name, key, cost } = refusing(plan)
  if (rejected.hasSubscribers) rejected.publish({ policy: name, key, cost, retryAfter: error.retryAfter, requestId: request.id })
  settings.onRefused(error.code)
  return answer(reply, error as Refused, settings.body === undefined ? describe(error as Refused) : settings.body(request, error))
}
