/**
 * What a response says about its limits: `RateLimit-Policy` and `RateLimit` as structured fields (RFC 9651) of the current IETF draft
 * (draft-ietf-httpapi-ratelimit-headers), the older `X-RateLimit-*` if asked for, and `Retry-After`.
 *
 * A bucket has no window. As `q` we give the burst, and as `w` the seconds in which an empty bucket is full again, rounded up; so q / w
 * is never above the rate. `t` is the seconds, rounded up, until there is more: the next token, or for a refused request what it costs.
 */
import type { FastifyReply } from 'fastify'
import { SLACK, type Shape } from './stores/bucket.ts'
import type { Plan } from './plan.ts'
import type { Stage } from './policies.ts'
import type { Demand, Outcome } from './stores/store.ts'

/** The largest integer of a structured field. */
const LARGEST = 999_999_999_999_999

/** Whole seconds after which the wait is over: never too early, and at most 1 s late. */
export function retryAfter (wait: number): number {
  return Math.min(LARGEST, Math.max(1, Math.ceil(wait / 1000)))
}

/** A structured field's string. */
export function quote (name: string): string {
  return `"${name.replace(/["\\]/g, '\\$&')}"`
}

export function policyItem (quoted: string, { rate, burst }: Shape): string {
  return `${quoted};q=${burst};w=${retryAfter(burst * 1000 / rate)}`
}

function remaining ({ tokens }: Outcome): number {
  return Math.max(0, Math.floor(tokens + SLACK))
}

/** Whole seconds until there is more than now; 0 if there is all there can be. */
function untilMore (outcome: Outcome, { rate, burst }: Shape, granted: boolean): number {
  if (!granted && outcome.wait > 0) return retryAfter(outcome.wait)
  const left = remaining(outcome)
  return left >= burst ? 0 : retryAfter((left + 1 - outcome.tokens) * 1000 / rate)
}

function limitItem (quoted: string, outcome: Outcome, shape: Shape, granted: boolean): string {
  return `${quoted};r=${remaining(outcome)};t=${untilMore(outcome, shape, granted)}`
}

/** Sets the fields of the plan's exposed policies, after those of an earlier stage. */
export function setFields (reply: FastifyReply, { policies, demands, verdict }: Plan, stage: Stage): void {
  const { outcomes, granted } = verdict!
  let policy = ''
  let limit = ''
  for (let i = 0; i < policies.length; i++) {
    const { quoted, item, expose } = policies[i]!
    if (!expose) continue
    const comma = policy === '' ? '' : ', '
    policy += comma + (item ?? policyItem(quoted, demands[i]!))
    limit += comma + limitItem(quoted, outcomes[i]!, demands[i]!, granted)
  }
  if (policy === '') return
  reply.header('ratelimit-policy', stage === 'onRequest' ? policy : append(reply, 'ratelimit-policy', policy))
  reply.header('ratelimit', stage === 'onRequest' ? limit : append(reply, 'ratelimit', limit))
}

function append (reply: FastifyReply, field: string, items: string): string {
  const earlier = reply.getHeader(field)
  return earlier === undefined ? items : `${String(earlier)}, ${items}`
}

/** The older fields name one limit only: the one that has the smallest part left. */
export function setLegacyFields (reply: FastifyReply, { policies, demands, verdict }: Plan): void {
  let tightest: { demand: Demand, outcome: Outcome } | undefined
  for (let i = 0; i < policies.length; i++) {
    const demand = demands[i]!
    const outcome = verdict!.outcomes[i]!
    if (!policies[i]!.expose) continue
    if (tightest === undefined || outcome.tokens / demand.burst < tightest.outcome.tokens / tightest.demand.burst) tightest = { demand, outcome }
  }
  if (tightest === undefined) return
  const { demand, outcome } = tightest
  reply.header('x-ratelimit-limit', demand.burst)
  reply.header('x-ratelimit-remaining', remaining(outcome))
  reply.header('x-ratelimit-reset', retryAfter((demand.burst - outcome.tokens) * 1000 / demand.rate))
}
