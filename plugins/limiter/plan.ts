/** What one request asks of the store in one stage: a demand a policy. The store decides on all of them at once. */
import { inspect } from 'node:util'
import type { FastifyRequest } from 'fastify'
import { LimitInvalidError } from '../errors.ts'
import { readKey, type AddressKey } from './keys.ts'
import type { MaybePromise, ResolvedPolicy, Stage } from './policies.ts'
import type { Demand, Verdict } from './store.ts'

/** Tokens that a request takes from each of its policies. */
export type Cost = number | ((request: FastifyRequest) => MaybePromise<number>)

/** What applies to a route. */
export interface Recipe {
  readonly policies: Readonly<Record<Stage, readonly ResolvedPolicy[]>>
  readonly cost: Cost
}

export class Plan {
  readonly policies: ResolvedPolicy[] = []
  /** In the order of `policies`. */
  readonly demands: Demand[] = []
  /** Set by the store. */
  verdict: Verdict | undefined = undefined

  add (policy: ResolvedPolicy, demand: Demand): void {
    this.policies.push(policy)
    this.demands.push(demand)
  }
}

/** One policy's demand; undefined if the key has no limit. */
export async function demandOf (
  policy: ResolvedPolicy, key: string, cost: number, request: FastifyRequest | undefined
): Promise<Demand | undefined> {
  const { rate, burst } = typeof policy.shape === 'object' ? policy.shape : await policy.shape(key, request)
  if (rate === Infinity) return undefined
  if (!Number.isInteger(cost) || cost < 1 || cost > burst) {
    throw new LimitInvalidError(policy.name, 'cost', `a whole number from 1 to the burst, ${burst}`, inspect(cost))
  }
  return { policy: policy.name, key, rate, burst, cost, onStoreError: policy.onStoreError }
}

async function isListed ({ allowList, ...policy }: ResolvedPolicy, key: string, request: FastifyRequest, addressKey: AddressKey): Promise<boolean> {
  if (typeof allowList === 'function') return await allowList(key, request)
  return allowList!.some((entry) => (policy.key === 'address' ? addressKey(entry) : entry) === key)
}

export type Planner = (stage: Stage, request: FastifyRequest) => Promise<Plan>

type AllowList = readonly string[] | ((request: FastifyRequest) => MaybePromise<boolean>)

export interface PlannerSettings {
  recipeOf: (request: FastifyRequest) => Recipe
  addressKey: AddressKey
  /** Not grouped by prefix: who lets one address pass doesn't let its neighbours. */
  exactAddress: AddressKey
  allowList: AllowList | undefined
}

/** The planner throws what the policies' functions throw: a request that can't be judged isn't let through. */
export function createPlanner ({ recipeOf, addressKey, exactAddress, allowList }: PlannerSettings): Planner {
  const addresses = typeof allowList === 'function' ? [] : (allowList ?? []).map(exactAddress)

  return async (stage, request) => {
    const plan = new Plan()
    const recipe = recipeOf(request)
    const policies = recipe.policies[stage]
    if (policies.length === 0) return plan
    if (addresses.length > 0 && addresses.includes(exactAddress(request.ip))) return plan
    if (typeof allowList === 'function' && await allowList(request)) return plan
    const cost = typeof recipe.cost === 'function' ? await recipe.cost(request) : recipe.cost
    for (const policy of policies) {
      const read = readKey(policy, request, addressKey)
      const key = typeof read === 'string' ? read : await read
      if (policy.allowList !== undefined && await isListed(policy, key, request, addressKey)) continue
      const demand = await demandOf(policy, key, cost, request)
      if (demand !== undefined) plan.add(policy, demand)
    }
    return plan
  }
}
