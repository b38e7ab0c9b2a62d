/**
 * Token buckets in Redis or Valkey, shared by every process that uses the same prefix. The only file that knows a Redis client.
 *
 * All of an app's buckets carry the same hash tag, because the policies of one request are decided in one script and a cluster runs a
 * script on one node only. A bucket a key would spread the load over the nodes, at the price of a round trip a policy and of tokens lost
 * to requests that another policy refused. Apps that outgrow one node take a prefix each.
 */
import { createHash } from 'node:crypto'
import * as scripts from './script.ts'
import type { Demand, Outcome, Store, Verdict } from './store.ts'

/** What is used of an ioredis (or iovalkey) `Redis` or `Cluster`: its type is not imported, since it is an optional peer. */
export interface RedisClient {
  evalsha (sha: string, keys: number, ...args: Array<string | number>): Promise<unknown>
  eval (script: string, keys: number, ...args: Array<string | number>): Promise<unknown>
}

interface Script {
  text: string
  sha: string
}

function script (text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

const take = script(scripts.take)
const giveBack = script(scripts.giveBack)

/** Lua writes an endless wait as `inf`. */
function toNumber (text: string): number {
  return text === 'inf' ? Infinity : Number(text)
}

function isNoScript (error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}

export class RedisStore implements Store {
  readonly #client: RedisClient
  readonly #prefix: string

  /** @param prefix of every key: `{${prefix}:limiter}:${policy}:${key}`, in braces as the hash tag */
  constructor (client: RedisClient, prefix: string) {
    this.#client = client
    this.#prefix = `{${prefix}:limiter}:`
  }

  async take (demands: readonly Demand[], maxWait: number): Promise<Verdict> {
    const args: Array<string | number> = demands.map((demand) => this.#key(demand))
    args.push(maxWait)
    for (const { rate, burst, cost } of demands) args.push(rate, burst, cost)
    return this.#verdict(await this.#run(take, demands.length, args), demands.length)
  }

  async giveBack (demand: Demand, actsAt: number): Promise<number> {
    return Number(await this.#run(giveBack, 1, [this.#key(demand), demand.rate, demand.burst, demand.cost, actsAt]))
  }

  /** The policy is encoded, so that no policy and key read like another policy and key. */
  #key ({ policy, key }: Demand): string {
    return `${this.#prefix}${encodeURIComponent(policy)}:${key}`
  }

  /** Redis forgets its scripts when it restarts or is told to: then the text is sent again. */
  async #run ({ text, sha }: Script, keys: number, args: Array<string | number>): Promise<unknown> {
    try {
      return await this.#client.evalsha(sha, keys, ...args)
    } catch (error) {
      if (!isNoScript(error)) throw error
      return await this.#client.eval(text, keys, ...args)
    }
  }

  /** What answers at that address may not be Redis, or a proxy before it: check the reply rather than let NaN pass for a decision. */
  #verdict (reply: unknown, demands: number): Verdict {
    const numbers = typeof reply === 'string' ? reply.split(' ').map(toNumber) : []
    const [granted, at] = numbers
    let ours = numbers.length === 2 + 2 * demands && (granted === 0 || granted === 1) && Number.isFinite(at)
    const outcomes: Outcome[] = []
    for (let i = 2; i < numbers.length; i += 2) {
      ours &&= Number.isFinite(numbers[i]) && numbers[i + 1]! >= 0
      outcomes.push({ tokens: numbers[i]!, wait: numbers[i + 1]! })
    }
    if (!ours) throw new Error('Redis answered the limiter\'s script with something else')
    return { granted: granted === 1, outcomes, at: at!, store: this }
  }
}
