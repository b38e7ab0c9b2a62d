/**
 * Token buckets in Redis or Valkey, shared by every process that uses the same prefix.
 *
 * All buckets of an app carry the same hash tag, because one script decides on the policies of a request, and a cluster runs a script on
 * one node only. A hash tag for each bucket would spread the load over the nodes, at the price of a round trip for each policy, and of
 * tokens lost to requests that another policy refused. Apps that outgrow one node take a prefix each.
 */
import { createHash } from 'node:crypto'
import { describe } from '../../shared/describe.ts'
import type { Reserved } from './bucket.ts'
import type { CallScript } from './redis-client.ts'
import { script } from './script.ts'
import type { Balance, Charge, Decision, Store } from './store.ts'

const sha = createHash('sha1').update(script).digest('hex')

export class RedisStore implements Store {
  readonly #call: CallScript
  readonly #prefix: string

  /** @param prefix of every key: `{${prefix}:limiter}:${policy}:${key}`, in braces as the hash tag */
  constructor (call: CallScript, prefix: string) {
    this.#call = call
    this.#prefix = `{${prefix}:limiter}:`
  }

  async take<C extends Charge> (charges: readonly C[], maxWait: number): Promise<Decision<C>> {
    const keys: string[] = []
    const args: string[] = []
    let isLocking = false
    for (const charge of charges) {
      keys.push(this.#key(charge))
      args.push(String(charge.rate), String(charge.burst), String(charge.cost))
      if (charge.lockout !== undefined) isLocking = true
    }
    if (maxWait > 0 || isLocking) args.push(String(maxWait))
    if (isLocking) {
      for (const { lockout } of charges) args.push(String(lockout?.after ?? 0), String(lockout?.duration ?? 0))
    }
    return this.#decisionOf(charges, await this.#run(keys, args))
  }

  async giveBack (charge: Charge, reserved?: Reserved): Promise<void> {
    const { rate, burst, cost } = charge
    const reservation = reserved === undefined ? [] : [reserved.at, reserved.wait]
    await this.#run([this.#key(charge)], [rate, burst, cost, ...reservation, 'back'].map(String))
  }

  /**
   * Reads the reply to the script. What answers at that address may not be Redis, or a proxy before it: an error is
   * better than NaN that passes for a decision.
   */
  #decisionOf<C extends Charge> (charges: readonly C[], reply: unknown): Decision<C> {
    const parts = typeof reply === 'string' ? reply.split(' ') : []
    const granted = parts[0] === '1'
    const at = Number(parts[1]) * 1000 + Number(parts[2]) / 1000
    let isValid = (granted || parts[0] === '0') && Number.isFinite(at) && parts.length === 3 + 3 * charges.length
    const balances: Array<Balance<C>> = []
    for (const charge of charges) {
      const next = 3 + 3 * balances.length
      const tokens = Number(parts[next])
      const wait = toNumber(parts[next + 1])
      if (!Number.isFinite(tokens) || !(wait >= 0)) isValid = false
      balances.push({ charge, tokens, wait, lockedOut: parts[next + 2] === '1' })
    }
    if (isValid) return { granted, balances, at, store: this }
    throw new Error('The answer to the limiter\'s script is not the limiter\'s (expected "granted seconds microseconds ' +
      `tokens wait lockedOut …", received ${describe(reply)}): check that limiter.redis is a Redis server`)
  }

  /** The policy's name is encoded, so that no policy and key read like another policy and key. */
  #key ({ policy, key }: Charge): string {
    return `${this.#prefix}${encodeURIComponent(policy)}:${key}`
  }

  /** Redis forgets its scripts when it restarts, or when an operator flushes them: then the text is sent again. */
  async #run (keys: string[], args: string[]): Promise<unknown> {
    try {
      return await this.#call('EVALSHA', sha, keys, args)
    } catch (error) {
      // GLIDE writes NoScriptError in the middle of its message.
      if (!(error instanceof Error) || !/^NOSCRIPT|NoScriptError/.test(error.message)) throw error
      return await this.#call('EVAL', script, keys, args)
    }
  }
}

/** Lua writes an endless wait as `inf`. */
function toNumber (text: string | undefined): number {
  return text === 'inf' ? Infinity : Number(text)
}
