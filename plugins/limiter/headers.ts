/**
 * The header fields of a response: `RateLimit-Policy` and `RateLimit` as structured fields (RFC 9651) of the current IETF draft
 * (draft-ietf-httpapi-ratelimit-headers), and the older `X-RateLimit-*` if the application asks for them.
 *
 * A bucket has no window. `q` is the burst. `w` is the number of seconds in which an empty bucket is full again, rounded up, so q / w is
 * never above the rate. `t` is the number of seconds, rounded up, until there are more tokens: one more, or as many as a refused request
 * costs.
 */
import type { FastifyReply } from 'fastify'
import type { Check, PolicyCharge } from './decision.ts'
import { SLACK } from './stores/bucket.ts'
import type { Balance } from './stores/store.ts'
import { policyItem, retryAfter } from './structured-fields.ts'

function remaining (tokens: number): number {
  return Math.max(0, Math.floor(tokens + SLACK))
}

/** Returns the whole seconds until there are more tokens; 0 if the bucket is full. */
function untilMore ({ charge: { rate, burst }, tokens, wait }: Balance, granted: boolean): number {
  if (!granted && wait > 0) return retryAfter(wait)
  const left = remaining(tokens)
  return left >= burst ? 0 : retryAfter((left + 1 - tokens) * 1000 / rate)
}

/** Sets the fields of the exposed policies. The items are appended to those that an earlier stage set. */
export function setFields (reply: FastifyReply, { decision: { balances, granted }, earlier }: Check): void {
  let policies = ''
  let limits = ''
  for (const balance of balances) {
    const { charge, charge: { limit }, tokens } = balance
    if (!limit.expose) continue
    const comma = policies === '' ? '' : ', '
    policies += comma + (limit.item ?? policyItem(limit.quoted, charge))
    limits += `${comma}${limit.quoted};r=${remaining(tokens)};t=${untilMore(balance, granted)}`
  }
  if (policies === '') return
  reply.header('ratelimit-policy', earlier === undefined ? policies : append(reply, 'ratelimit-policy', policies))
  reply.header('ratelimit', earlier === undefined ? limits : append(reply, 'ratelimit', limits))
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
  reply.header('x-ratelimit-reset', retryAfter((burst - tokens) * 1000 / rate))
}
