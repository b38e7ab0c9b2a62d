/** What one request asks of the store in one stage: a demand a policy. The store decides on all of them at once. */
import type { FastifyRequest } from 'fastify'
import { LimitInvalidError, LimitKeyMissingError } from '../shared/errors.ts'
import type { Shape } from './stores/bucket.ts'
import { brief } from './functions.ts'
import { readKey, storedKey, storedSubstitute, type AddressKey, type AddressOf } from './keys.ts'
import { after, isPromise, type MaybePromise } from './maybe.ts'
import type { ResolvedPolicy, Stage } from './policies.ts'
import type { Demand, Store, Verdict } from './stores/store.ts'

/** Tokens that a request takes from each of its policies. */
export type Cost = number | ((request: FastifyRequest) => MaybePromise<number>)

/** What applies to a route. */
export interface Recipe {
  readonly policies: Readonly<Record<Stage, readonly ResolvedPolicy[]>>
  readonly cost: Cost
}

export class Plan {
  readonly recipe: Recipe
  readonly policies: ResolvedPolicy[] = []
  /** In the order of `policies`. */
  readonly demands: Demand[] = []
  /** Set by the store. */
  verdict: Verdict | undefined = undefined
  /** What the request was granted in the stage before. */
  earlier: Plan | undefined = undefined

  constructor (recipe: Recipe) {
    this.recipe = recipe
  }

  add (policy: ResolvedPolicy, demand: Demand): void {
    this.policies.push(policy)
    this.demands.push(demand)
  }
}

/**
 * How many ms after a decision of the stage after it a granted plan would be granted again. The tokens that it took are spent, also if
 * that stage refuses.
 */
export function untilAgain ({ demands, verdict }: Plan, after: Verdict): number {
  const { outcomes, at, store } = verdict!
  let wait = 0
  for (const [i, { cost, rate }] of demands.entries()) wait = Math.max(wait, (cost - outcomes[i]!.tokens) * 1000 / rate)
  // Another store has another clock.
  return store === after.store ? wait - Math.max(0, after.at - at) : wait
}

/** What a demand is made of. */
export interface Asked {
  readonly policy: ResolvedPolicy
  /** The key as the policy's functions see it. */
  readonly key: string
  /** The address behind the key, of a policy by address. */
  readonly ip?: string | undefined
  /** Whether the key is an address in place of a key that is missing. */
  readonly isSubstitute?: boolean
  readonly cost: number
  readonly request: FastifyRequest | undefined
}

/** Returns one policy's demand; undefined if the key has no limit or is on the policy's allow list. */
export function demandOf (asked: Asked): MaybePromise<Demand | undefined> {
  const { isListed } = asked.policy
  if (isListed === undefined) return unlistedDemand(asked)
  return after(isListed(asked.key, asked.ip, asked.request), (listed) => listed ? undefined : unlistedDemand(asked))
}

function unlistedDemand (asked: Asked): MaybePromise<Demand | undefined> {
  const { shape } = asked.policy
  return typeof shape === 'object' ? shapedDemand(asked, shape) : shape(asked.key, asked.request).then((shape) => shapedDemand(asked, shape))
}

function shapedDemand ({ policy: { name, onStoreError }, key, isSubstitute, cost }: Asked, { rate, burst }: Shape): Demand | undefined {
  if (rate === Infinity) return undefined
  if (!Number.isInteger(cost) || cost < 1 || cost > burst) {
    throw new LimitInvalidError(name, 'cost', `a whole number from 1 to the burst, ${burst}`, brief(cost))
  }
  return { policy: name, key: isSubstitute === true ? storedSubstitute(key) : storedKey(key), rate, burst, cost, onStoreError }
}

export interface PlannerSettings {
  recipeOf: (request: FastifyRequest) => Recipe
  addressOf: AddressOf
  addressKey: AddressKey
  /** Whether no policy limits a request; undefined if all are limited. */
  isExempt: ((request: FastifyRequest) => MaybePromise<boolean>) | undefined
}

/** Has the store decide on the plan. */
export function decidePlan (plan: Plan, store: Store): MaybePromise<Plan> {
  if (plan.demands.length === 0) return plan
  return after(store.take(plan.demands, 0), (verdict) => {
    plan.verdict = verdict
    return plan
  })
}

export type Planner = (stage: Stage, request: FastifyRequest) => MaybePromise<Plan>

/** The planner throws what the policies' functions throw: a request that can't be judged isn't let through. */
export function createPlanner ({ recipeOf, addressOf, addressKey, isExempt }: PlannerSettings): Planner {
  function demandFor (policy: ResolvedPolicy, cost: number, request: FastifyRequest): MaybePromise<Demand | undefined> {
    if (policy.key === 'address') {
      const ip = addressOf(request)
      return demandOf({ policy, key: (policy.addressKey ?? addressKey)(ip), ip, cost, request })
    }
    const key = readKey(policy, request)
    return isPromise(key) ? key.then((key) => keyedDemand(policy, key, cost, request)) : keyedDemand(policy, key, cost, request)
  }

  function keyedDemand (policy: ResolvedPolicy, key: string | undefined, cost: number, request: FastifyRequest): MaybePromise<Demand | undefined> {
    if (key !== undefined) return demandOf({ policy, key, cost, request })
    if (policy.missingKey === 'reject') throw new LimitKeyMissingError(policy.expose ? policy.name : undefined)
    return demandOf({ policy, key: addressKey(addressOf(request)), isSubstitute: true, cost, request })
  }

  /** Adds the demands of the policies from `index` on. */
  function fill (plan: Plan, policies: readonly ResolvedPolicy[], index: number, cost: number, request: FastifyRequest): MaybePromise<Plan> {
    for (let i = index; i < policies.length; i++) {
      const policy = policies[i]!
      const demand = demandFor(policy, cost, request)
      if (isPromise(demand)) {
        return demand.then((demand) => {
          if (demand !== undefined) plan.add(policy, demand)
          return fill(plan, policies, i + 1, cost, request)
        })
      }
      if (demand !== undefined) plan.add(policy, demand)
    }
    return plan
  }

  return (stage, request) => {
    const recipe = recipeOf(request)
    const { policies, cost } = recipe
    const plan = new Plan(recipe)
    if (policies[stage].length === 0) return plan
    if (isExempt === undefined && typeof cost === 'number') return fill(plan, policies[stage], 0, cost, request)
    return after(isExempt?.(request) ?? false, (exempt) => {
      if (exempt) return plan
      return after(typeof cost === 'function' ? cost(request) : cost, (cost) => fill(plan, policies[stage], 0, cost, request))
    })
  }
}
