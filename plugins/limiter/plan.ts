/** What one request asks of the store in one stage: a demand a policy. The store decides on all of them at once. */
import { inspect } from 'node:util'
import type { FastifyRequest } from 'fastify'
import { LimitInvalidError } from '../errors.ts'
import type { Shape } from './bucket.ts'
import { readKey, type AddressKey } from './keys.ts'
import { after, isPromise, type MaybePromise } from './maybe.ts'
import type { ResolvedPolicy, Stage } from './policies.ts'
import type { Demand, Store, Verdict } from './store.ts'

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

/** One policy's demand; undefined if the key has no limit. */
export function demandOf (
  policy: ResolvedPolicy, key: string, cost: number, request: FastifyRequest | undefined
): MaybePromise<Demand | undefined> {
  const { shape } = policy
  return typeof shape === 'object' ? shapedDemand(policy, shape, key, cost) : shape(key, request).then((shape) => shapedDemand(policy, shape, key, cost))
}

function shapedDemand ({ name, onStoreError }: ResolvedPolicy, { rate, burst }: Shape, key: string, cost: number): Demand | undefined {
  if (rate === Infinity) return undefined
  if (!Number.isInteger(cost) || cost < 1 || cost > burst) {
    throw new LimitInvalidError(name, 'cost', `a whole number from 1 to the burst, ${burst}`, inspect(cost))
  }
  return { policy: name, key, rate, burst, cost, onStoreError }
}

type AllowList = readonly string[] | ((request: FastifyRequest) => MaybePromise<boolean>)

export interface PlannerSettings {
  recipeOf: (request: FastifyRequest) => Recipe
  addressKey: AddressKey
  /** Not grouped by prefix: who lets one address pass doesn't let its neighbours. */
  exactAddress: AddressKey
  /** Exempt from every policy. */
  allowList: AllowList | undefined
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
export function createPlanner ({ recipeOf, addressKey, exactAddress, allowList }: PlannerSettings): Planner {
  const addresses = typeof allowList === 'function' ? [] : (allowList ?? []).map(exactAddress)

  function isExempt (request: FastifyRequest): MaybePromise<boolean> {
    if (typeof allowList === 'function') return allowList(request)
    return addresses.length > 0 && addresses.includes(exactAddress(request.ip))
  }

  function isListed (policy: ResolvedPolicy, key: string, request: FastifyRequest): MaybePromise<boolean> {
    const { allowList } = policy
    if (allowList === undefined) return false
    if (typeof allowList === 'function') return allowList(key, request)
    return allowList.some((entry) => (policy.key === 'address' ? addressKey(entry) : entry) === key)
  }

  function demandFor (policy: ResolvedPolicy, cost: number, request: FastifyRequest): MaybePromise<Demand | undefined> {
    const key = readKey(policy, request, addressKey)
    // The usual case, without closures.
    if (typeof key === 'string' && policy.allowList === undefined) return demandOf(policy, key, cost, request)
    return after(key, (key) =>
      after(isListed(policy, key, request), (listed) => listed ? undefined : demandOf(policy, key, cost, request)))
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
    if (allowList === undefined && typeof cost === 'number') return fill(plan, policies[stage], 0, cost, request)
    return after(isExempt(request), (exempt) => {
      if (exempt) return plan
      return after(typeof cost === 'function' ? cost(request) : cost, (cost) => fill(plan, policies[stage], 0, cost, request))
    })
  }
}
