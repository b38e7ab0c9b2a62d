/** The decision on one stage of a request: what the request is charged, and whether the store grants the charges. */
import type { FastifyRequest } from 'fastify'
import { addressKey } from '../shared/address-key.ts'
import { describe } from '../shared/describe.ts'
import { LimitInvalidError, LimitKeyMissingError } from '../shared/errors.ts'
import { after, type MaybePromise } from './functions.ts'
import { readKey, storedKey, storedSubstitute } from './policies/keys.ts'
import type { Stage } from './policies/policy.ts'
import type { ResolvedPolicy, ResolvedRefusal } from './policies/resolve.ts'
import type { Cost, RouteRules, RulesOfRoutes } from './route-rules.ts'
import type { Shape } from './stores/bucket.ts'
import type { Charge, Decision, Store } from './stores/store.ts'

/** A charge of a request or of a call of `app.limiter`, with its policy. */
export interface PolicyCharge extends Charge {
  readonly limit: ResolvedPolicy
}

/** A Check is a decided stage of a request. */
export interface Check {
  readonly decision: Decision<PolicyCharge>
  /** The decision of the stage before, if there was one and it granted the request. */
  readonly earlier: Decision<PolicyCharge> | undefined
  /** What the route says about refusals. */
  readonly route: ResolvedRefusal
}

/** The parts of which a charge is made. */
interface ChargeRequest {
  readonly policy: ResolvedPolicy
  /** The key as the policy's functions see it. */
  readonly key: string
  /** The address behind the key, of a policy by address. */
  readonly ip?: string | undefined
  /** Whether the key is the client's address in place of a missing key. */
  readonly isSubstitute?: boolean
  readonly cost: number
  readonly request: FastifyRequest | undefined
}

/** Returns the charge of one policy; undefined if the key has no limit, or is on the policy's allow list. */
export function chargeOf (asked: ChargeRequest): MaybePromise<PolicyCharge | undefined> {
  const { policy: { isListed, shape }, key, ip, request } = asked
  if (isListed === undefined && typeof shape === 'object') return shapedCharge(asked, shape)
  return after(isListed?.(key, ip, request) ?? false, (listed) => {
    if (listed) return undefined
    return typeof shape === 'object' ? shapedCharge(asked, shape) : shape(key, request).then((shape) => shapedCharge(asked, shape))
  })
}

function shapedCharge ({ policy, key, isSubstitute, cost }: ChargeRequest, { rate, burst }: Shape): PolicyCharge | undefined {
  if (rate === Infinity) return undefined
  if (!Number.isInteger(cost) || cost < 1 || cost > burst) {
    throw new LimitInvalidError(policy.name, 'cost', `a whole number from 1 to the burst, ${burst}`, describe(cost))
  }
  const stored = isSubstitute === true ? storedSubstitute(key) : storedKey(key)
  return { limit: policy, policy: policy.name, key: stored, rate, burst, cost, onStoreError: policy.onStoreError, lockout: policy.lockout }
}

export interface DecisionSettings {
  rules: RulesOfRoutes
  store: Store
  /** Reads the address of a request's client. */
  addressOf: (request: FastifyRequest) => string
  /** Whether no policy limits a request; undefined if all requests are limited. */
  isExempt: ((request: FastifyRequest) => MaybePromise<boolean>) | undefined
}

/**
 * Decides a stage of a request. Returns undefined if nothing limits the request. Throws or rejects with what the policies' functions throw,
 * with FC_ERR_LIMIT_KEY_MISSING, or with the store's error: a request that can't be checked never passes.
 */
export type Decide = (stage: Stage, request: FastifyRequest) => MaybePromise<Check | undefined>

export function createDecide ({ rules: rulesOfRoutes, store, addressOf, isExempt }: DecisionSettings): Decide {
  /** The decisions of the onRequest stage, for requests that still have to pass the preHandler stage. */
  const granted = new WeakMap<FastifyRequest, Decision<PolicyCharge>>()
  /** The requests whose preHandler stage is checked. The hook runs twice on a route where another plugin has wrapped the hook. */
  const passed = new WeakSet<FastifyRequest>()

  function charge (policy: ResolvedPolicy, cost: number, request: FastifyRequest): MaybePromise<PolicyCharge | undefined> {
    const { name, key } = policy
    if (key === 'none') return chargeOf({ policy, key: '', cost, request })
    if (key === 'address') {
      const ip = addressOf(request)
      return chargeOf({ policy, key: addressKey(ip, policy.ipv6Subnet), ip, cost, request })
    }
    return after(readKey(name, key, request), (key) => {
      if (key !== undefined) return chargeOf({ policy, key, cost, request })
      if (policy.missingKey === 'reject') throw new LimitKeyMissingError(policy.expose ? name : undefined)
      return chargeOf({ policy, key: addressKey(addressOf(request), policy.ipv6Subnet), isSubstitute: true, cost, request })
    })
  }

  /** Adds the charges of the policies from `index` on. */
  function addCharges (
    charges: PolicyCharge[], policies: readonly ResolvedPolicy[], index: number, cost: number, request: FastifyRequest
  ): MaybePromise<PolicyCharge[]> {
    const policy = policies[index]
    if (policy === undefined) return charges
    return after(charge(policy, cost, request), (added) => {
      if (added !== undefined) charges.push(added)
      return addCharges(charges, policies, index + 1, cost, request)
    })
  }

  function charges (policies: readonly ResolvedPolicy[], cost: Cost, request: FastifyRequest): MaybePromise<PolicyCharge[]> {
    if (isExempt === undefined && typeof cost === 'number') return addCharges([], policies, 0, cost, request)
    return after(isExempt?.(request) ?? false, (exempt) => {
      if (exempt) return []
      return after(typeof cost === 'function' ? cost(request) : cost, (cost) => addCharges([], policies, 0, cost, request))
    })
  }

  function take (charges: readonly PolicyCharge[], stage: Stage, route: RouteRules, request: FastifyRequest): MaybePromise<Check | undefined> {
    if (charges.length === 0) return undefined
    return after(store.take(charges, 0), (decision) => {
      const earlier = stage === 'preHandler' ? granted.get(request) : undefined
      if (stage === 'onRequest' && route.preHandler.length > 0) granted.set(request, decision)
      return { decision, earlier, route }
    })
  }

  return (stage, request) => {
    const rules = rulesOfRoutes.of(request)
    const policies = rules[stage]
    if (policies.length === 0) return undefined
    if (stage === 'preHandler') {
      if (passed.has(request)) return undefined
      passed.add(request)
    }
    return after(charges(policies, rules.cost, request), (charges) => take(charges, stage, rules, request))
  }
}
