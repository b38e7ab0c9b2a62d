/**
 * Token buckets in Redis or Valkey, shared by every process that uses the same prefix.
 *
 * All buckets of an app carry the same hash tag, because one script decides on the policies of a request, and a cluster runs a script on
 * one node only. A hash tag for each bucket would spread the load over the nodes, at the price of a round trip for each policy, and of
 * tokens lost to requests that another policy refused. Apps that outgrow one node take a prefix each.
 */
import { setImmediate } from 'node:timers'
import { Script, type CallScript } from '../../redis.ts'
import { describe } from '../../shared/describe.ts'
import type { Reserved, Taken } from './bucket.ts'
import { script as text } from './script.ts'
import type { Balance, Charge, Decision, Store } from './store.ts'

const script = new Script(text)

/**
 * The most operations in one call of the script. A full batch is sent at once, so that Redis works while this process
 * goes on with its turn. Redis serves nobody else while a script runs: the bound also limits how long that takes.
 */
const BATCH_SIZE = 8

/**
 * An operation as the script reads it. To take: the longest wait; then of each charge rate, burst, cost, and of its lockout
 * the refusals and the ms (0 and 0 without one). To give back: rate, burst and cost; then when they were taken,
 * and of a reservation how many ms later it was to act, or of a refund what the bucket held then.
 */
type Operation = number[] | ['back' | 'refund', ...number[]]

/** What the script says of one operation. */
interface Answer {
  /** When the script ran, in ms of the server's clock. */
  at: number
  /** The parts of the whole reply. */
  parts: readonly string[]
  /** The index of the operation's first part. */
  first: number
}

interface Asked {
  /** How many parts the answer has. */
  size: number
  resolve: (answer: Answer) => void
  reject: (error: unknown) => void
}

/** Operations that began in one turn of the event loop, at most BATCH_SIZE. */
interface Batch {
  keys: string[]
  operations: Operation[]
  asked: Asked[]
}

export class RedisStore implements Store {
  readonly #call: CallScript
  readonly #prefix: string
  #batch: Batch | undefined

  /** @param prefix of every key: `{${prefix}:limiter}:${policy}:${key}`, in braces as the hash tag */
  constructor (call: CallScript, prefix: string) {
    this.#call = call
    this.#prefix = `{${prefix}:limiter}:`
  }

  async take<C extends Charge> (charges: readonly C[], maxWait: number): Promise<Decision<C>> {
    // JSON has no infinity.
    const operation = [Math.min(maxWait, Number.MAX_VALUE)]
    for (const { rate, burst, cost, lockout } of charges) operation.push(rate, burst, cost, lockout?.after ?? 0, lockout?.duration ?? 0)
    const { at, parts, first } = await this.#ask(charges, operation, 1 + 3 * charges.length)
    const granted = parts[first] === '1'
    let isValid = granted || parts[first] === '0'
    const balances = charges.map((charge, index): Balance<C> => {
      const next = first + 1 + 3 * index
      const tokens = Number(parts[next])
      const wait = toNumber(parts[next + 1])
      if (!Number.isFinite(tokens) || !(wait >= 0)) isValid = false
      return { charge, tokens, wait, lockedOut: parts[next + 2] === '1' }
    })
    if (!isValid) throw foreignReply(parts.join(' '))
    return { granted, balances, at, store: this }
  }

  async giveBack (charge: Charge, { at, wait }: Reserved): Promise<void> {
    const { rate, burst, cost } = charge
    await this.#ask([charge], ['back', rate, burst, cost, at, wait], 0)
  }

  async refund (charge: Charge, { at, tokens }: Taken): Promise<void> {
    const { rate, burst, cost } = charge
    await this.#ask([charge], ['refund', rate, burst, cost, at, tokens], 0)
  }

  /** Adds an operation to the batch, which is sent when it is full, or else at the end of the turn. */
  #ask (charges: readonly Charge[], operation: Operation, size: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const batch = this.#batch ??= this.#open()
      for (const charge of charges) batch.keys.push(this.#key(charge))
      batch.operations.push(operation)
      batch.asked.push({ size, resolve, reject })
      if (batch.operations.length === BATCH_SIZE) this.#close(batch)
    })
  }

  #open (): Batch {
    const batch: Batch = { keys: [], operations: [], asked: [] }
    setImmediate(() => { if (this.#batch === batch) this.#close(batch) })
    return batch
  }

  #close (batch: Batch): void {
    this.#batch = undefined
    void this.#send(batch)
  }

  async #send ({ keys, operations, asked }: Batch): Promise<void> {
    try {
      const reply = await script.run(this.#call, keys, [JSON.stringify(operations)])
      const parts = typeof reply === 'string' ? reply.split(' ') : []
      const at = Number(parts[0]) * 1000 + Number(parts[1]) / 1000
      const size = asked.reduce((sum, { size }) => sum + size, 2)
      if (!Number.isFinite(at) || parts.length !== size) throw foreignReply(reply)
      let first = 2
      for (const { size, resolve } of asked) {
        resolve({ at, parts, first })
        first += size
      }
    } catch (error) {
      for (const { reject } of asked) reject(error)
    }
  }

  /** The policy's name is encoded, so that no policy and key read like another policy and key. */
  #key ({ policy, key }: Charge): string {
    return `${this.#prefix}${encodeURIComponent(policy)}:${key}`
  }
}

/** What answers at the address may not be Redis, or a proxy before it: an error is better than NaN that passes for a decision. */
function foreignReply (reply: unknown): Error {
  return new Error('The answer to the limiter\'s script is not the limiter\'s (expected "seconds microseconds ' +
    `granted tokens wait lockedOut …", received ${describe(reply)}): check that limiter.redis is a Redis server`)
}

/** Lua writes an endless wait as `inf`. */
function toNumber (text: string | undefined): number {
  return text === 'inf' ? Infinity : Number(text)
}
