/**
 * The header fields of a response: `RateLimit-Policy` and `RateLimit` as structured fields (RFC 9651) of the current IETF draft
 * (draft-ietf-httpapi-ratelimit-headers), and the older `X-RateLimit-*` if the application asks for them.
 *
 * A bucket has no window. `q` is the burst. `w` is the number of seconds in which an empty bucket is full again, rounded up, so q / w is
 * never above the rate. `t` is the number of seconds, rounded up, until there are more tokens: one more, or as many as a refused request
 * costs. A refusal has `Retry-After` too, and `Cache-Control: no-store`, so that no cache answers other clients with it.
 */
import type { FastifyReply } from 'fastify'
import { wholeSeconds } from '../shared/coded-error.ts'
import type { Check, PolicyCharge } from './decision.ts'
import type { ResolvedPolicy } from './policies/resolve.ts'
import { SLACK, type Shape } from './stores/bucket.ts'
import type { Balance } from './stores/store.ts'

/** The name of a policy as a structured field's string, and the policy's item of `RateLimit-Policy` if its numbers are always the same. */
interface PolicyText {
  readonly quoted: string
  readonly item: string | undefined
}

const texts = new WeakMap<ResolvedPolicy, PolicyText>()

function textOf (policy: ResolvedPolicy): PolicyText {
  let text = texts.get(policy)
  if (text === undefined) {
    const quoted = `"${policy.name.replace(/["\\]/g, '\\$&')}"`
    texts.set(policy, text = { quoted, item: typeof policy.shape === 'object' ? policyItem(quoted, policy.shape) : undefined })
  }
  return text
}

function policyItem (quoted: string, { rate, burst }: Shape): string {
  return `${quoted};q=${burst};w=${wholeSeconds(burst * 1000 / rate)}`
}

function remaining (tokens: number): number {
  return Math.max(0, Math.floor(tokens + SLACK))
}

/** Returns the whole seconds until there are more tokens; 0 if the bucket is full. */
function untilMore ({ charge: { rate, burst }, tokens, wait }: Balance, granted: boolean): number {
  if (!granted && wait > 0) return wholeSeconds(wait)
  const left = remaining(tokens)
  return left >= burst ? 0 : wholeSeconds((left + 1 - tokens) * 1000 / rate)
}

function limitItem (balance: Balance<PolicyCharge>, granted: boolean): string {
  return `${textOf(balance.charge.limit).quoted};r=${remaining(balance.tokens)};t=${untilMore(balance, granted)}`
}

/** Sets the fields of the exposed policies. The items are appended to those that an earlier stage set. */
export function setFields (reply: FastifyReply, { decision: { balances, granted }, earlier }: Check): void {
  let policies = ''
  let limits = ''
  for (const balance of balances) {
    const { charge, charge: { limit } } = balance
    if (!limit.expose) continue
    const comma = policies === '' ? '' : ', '
    const { quoted, item } = textOf(limit)
    policies += comma + (item ?? policyItem(quoted, charge))
    limits += comma + limitItem(balance, granted)
  }
  if (policies === '') return
  reply.header('ratelimit-policy', earlier === undefined ? policies : append(reply, 'ratelimit-policy', policies))
  reply.header('ratelimit', earlier === undefined ? limits : append(reply, 'ratelimit', limits))
}

/** Adds tokens that a granted request got back to what `RateLimit` says of their policy. */
export function updateField (reply: FastifyReply, balance: Balance<PolicyCharge>, returned: number): void {
  const field = reply.getHeader('ratelimit')
  if (typeof field !== 'string' || !balance.charge.limit.expose) return
  const tokens = Math.min(balance.charge.burst, balance.tokens + returned)
  reply.header('ratelimit', field.replace(limitItem(balance, true), () => limitItem({ ...balance, tokens }, true)))
}

/**
 * Sets the fields of a refusal that a hook answers: 429, 401 or 503. A refusal that code throws has them in its error: see shared/errors.ts.
 * @param seconds undefined if nobody knows when to try again
 */
export function setRefusalFields (reply: FastifyReply, seconds?: number): void {
  reply.header('cache-control', 'no-store')
  if (seconds !== undefined) reply.header('retry-after', String(seconds))
}

function append (reply: FastifyReply, field: string, items: string): string {
  const present = reply.getHeader(field)
  return present === undefined ? items : `${String(present)}, ${items}`
}

/** Sets the older fields. They describe one limit only: the policy with the smallest share of its tokens left. */
export function setLegacyFields (reply: FastifyReply, { decision: { balances } }: Check): void {
  let tightest: Balance<PolicyCharge> | undefined
  for (const balance of balances) {
    if (!balance.charge.limit.expose) continue
    if (tightest === undefined || balance.tokens / balance.charge.burst < tightest.tokens / tightest.charge.burst) tightest = balance
  }
  if (tightest === undefined) return
  const { charge: { rate, burst }, tokens } = tightest
  reply.header('x-ratelimit-limit', burst)
  reply.header('x-ratelimit-remaining', remaining(tokens))
  reply.header('x-ratelimit-reset', wholeSeconds((burst - tokens) * 1000 / rate))
}
