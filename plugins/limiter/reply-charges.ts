/**
 * The charges of policies with `charge`, which depend on the reply. A request takes its whole cost before its handler runs, and gets back what
 * `charge` doesn't keep before its reply is sent. Charging afterwards instead would let any number of requests pass that are in flight together.
 * Whoever is not there to receive a reply gets nothing back, nor does a request that Fastify sends no reply to.
 */
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { isGone } from '../cancellation/request-end.ts'
import { describe } from '../shared/describe.ts'
import { LimitInvalidError } from '../shared/errors.ts'
import type { PolicyCharge } from './decision.ts'
import { updateField } from './headers.ts'
import type { Balance, Decision, Store } from './stores/store.ts'

/** A charge that was granted, when, and the store that takes its tokens back. */
interface Held {
  readonly balance: Balance<PolicyCharge>
  readonly at: number
  readonly store: Store
}

export class ReplyCharges {
  readonly #held = new WeakMap<FastifyRequest, Held[]>()

  /** Notes the charges of a granted request that depend on its reply. */
  add (request: FastifyRequest, { balances, at, store }: Decision<PolicyCharge>): void {
    const added = balances.filter(({ charge: { limit } }) => limit.charge !== undefined)
    if (store === undefined || added.length === 0) return
    this.#held.set(request, [...this.#held.get(request) ?? [], ...added.map((balance) => ({ balance, at, store }))])
  }

  /** The onSend hook. A wrong or failing `charge` makes the reply an error, and the request pays in full. */
  readonly onSend = (request: FastifyRequest, reply: FastifyReply, _payload: unknown, done: HookHandlerDoneFunction): void => {
    const held = this.#held.get(request)
    if (held === undefined) return done()
    this.#held.delete(request)
    if (isGone(reply)) return done()
    settle(held, request, reply).then(() => done(), done)
  }
}

async function settle (held: readonly Held[], request: FastifyRequest, reply: FastifyReply): Promise<void> {
  for (const { balance, at, store } of held) {
    const { charge, charge: { limit, cost } } = balance
    const kept: unknown = await limit.charge?.(request, reply)
    if (!Number.isInteger(kept) || (kept as number) < 0 || (kept as number) > cost) {
      throw new LimitInvalidError(limit.name, 'charge', `a whole number from 0 to the cost, ${cost}`, describe(kept))
    }
    const returned = cost - (kept as number)
    if (returned === 0) continue
    await store.refund({ ...charge, cost: returned }, { at, tokens: balance.tokens })
    updateField(reply, balance, returned)
  }
}
