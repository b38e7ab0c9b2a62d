/**
 * Token buckets in Redis or Valkey, shared by every process that uses the same prefix.
 *
 * All buckets of an app carry the same hash tag, because one script decides on the policies of a request, and a cluster runs a script on
 * one node only. A hash tag for each bucket would spread the load over the nodes, at the price of a round trip for each policy, and of
 * tokens lost to requests that another policy refused. Apps that outgrow one node take a prefix each.
 */
import { createHash } from 'node:crypto'
import type { Reserved } from './bucket.ts'
import type { CallScript } from './redis-client.ts'
import * as scripts from './script.ts'
import type { Balance, Charge, Decision, Store } from './store.ts'

interface Script {
  text: string
  sha: string
}

function script (text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

const take = script(scripts.take)
const giveBack = script(scripts.giveBack)

export class RedisStore implements Store {
  readonly #call: CallScript
  readonly #prefix: string

  /** @param prefix of every key: `{${prefix}:limiter}:${policy}:${key}`, in braces as the hash tag */
  constructor (call: CallScript, prefix: string) {
    this.#call = call
    this.#prefix = `{${prefix}:limiter}:`
  }

  async take<C extends Charge> (charges: readonly C[], maxWait: number): Promise<Decision<C>> {
    const keys = charges.map((charge) => this.#key(charge))
    const reply = await this.#run(take, keys, [maxWait, ...charges.flatMap(argumentsOf)])
    // What answers at that address may not be Redis, or a proxy before it: an error is better than NaN that passes for a decision.
    const [granted, seconds = NaN, micros = NaN, ...numbers] = typeof reply === 'string' ? reply.split(' ').map(toNumber) : []
    const at = seconds * 1000 + micros / 1000
    const balances = charges.map((charge, i): Balance<C> => ({
      charge, tokens: numbers[3 * i] ?? NaN, wait: numbers[3 * i + 1] ?? NaN, lockedOut: numbers[3 * i + 2] === 1
    }))
    const isValid = (granted === 0 || granted === 1) && Number.isFinite(at) && numbers.length === 3 * charges.length &&
      balances.every(({ tokens, wait }) => Number.isFinite(tokens) && wait >= 0)
    if (!isValid) throw new Error(`The answer to the limiter's script is not the limiter's (expected "granted seconds microseconds tokens wait lockedOut …", received ${String(reply).slice(0, 100)}): check that limiter.redis is a Redis server`)
    return { granted: granted === 1, balances, at, store: this }
  }

  async giveBack (charge: Charge, reserved?: Reserved): Promise<void> {
    const { rate, burst, cost } = charge
    await this.#run(giveBack, [this.#key(charge)], [rate, burst, cost, ...reserved === undefined ? [] : [reserved.at, reserved.wait]])
  }

  /** The policy's name is encoded, so that no policy and key read like another policy and key. */
  #key ({ policy, key }: Charge): string {
    return `${this.#prefix}${encodeURIComponent(policy)}:${key}`
  }

  /** Redis forgets its scripts when it restarts, or when an operator flushes them: then the text is sent again. */
  async #run ({ text, sha }: Script, keys: string[], numbers: readonly number[]): Promise<unknown> {
    const args = numbers.map(String)
    try {
      return await this.#call('EVALSHA', sha, keys, args)
    } catch (error) {
      // GLIDE writes NoScriptError in the middle of its message.
      if (!(error instanceof Error) || !/^NOSCRIPT|NoScriptError/.test(error.message)) throw error
      return await this.#call('EVAL', text, keys, args)
    }
  }
}

function argumentsOf ({ rate, burst, cost, lockout }: Charge): number[] {
  return [rate, burst, cost, lockout?.after ?? 0, lockout?.duration ?? 0]
}

/** Lua writes an endless wait as `inf`. */
function toNumber (text: string): number {
  return text === 'inf' ? Infinity : Number(text)
}
