/**
 * Token buckets in this process's memory.
 *
 * A bucket is forgotten exactly when it is full again, since then it says nothing that a new one wouldn't: no guess by age, so no
 * limited key is ever freed. The work is spread over the operations, a few slots each. The number of keys is bounded; when the table
 * is full of keys that are still refilling, new keys share one bucket a policy, and start from what is left in it when there is room
 * again: they may be the ones that emptied it. A least-recently-used table would rather forget a limited key, which is what an attacker
 * who sends many keys wants.
 */
import type { Clock } from '../../shared/clock.ts'
import { advance, delay, fullAt, giveBack, spend, type Bucket } from './bucket.ts'
import { ownCopy } from './own-copy.ts'
import type { Demand, Outcome, Store, Verdict } from './store.ts'
import { Wheel } from './timing-wheel.ts'

/** More than a bucket can need between two of its own operations: three levels of the wheel until it is forgotten. */
const SWEEP = 4
/** How long a new key may look for room in a full table. */
const SEARCH = 256
/** The slot of the bucket that new keys share. */
const OVERFLOW = 0

/** A bucket's cells lie together, so that touching it costs one cache miss. */
const STRIDE = 4
const TOKENS = 0
const AT = 1
const FULL_AT = 2

/** One policy's buckets: cells in one array rather than objects, for a third of the memory and nothing for the garbage collector to trace. */
class Table {
  readonly #slots = new Map<string, number>()
  readonly #keys: string[] = ['']
  readonly #free: number[] = []
  readonly #wheel: Wheel
  readonly #maxKeys: number
  #cells = new Float64Array(64 * STRIDE)

  constructor (now: number, maxKeys: number) {
    this.#wheel = new Wheel(now)
    this.#maxKeys = maxKeys
    // The overflow bucket starts full, whatever its burst, and is never scheduled to be forgotten.
    this.#cells[OVERFLOW * STRIDE + TOKENS] = Infinity
    this.#cells[OVERFLOW * STRIDE + AT] = -Infinity
  }

  get size (): number {
    return this.#slots.size
  }

  /** The key's slot; the overflow bucket's if there is no room for one more. */
  find (key: string, now: number): number | undefined {
    this.#sweep(now, SWEEP)
    const slot = this.#slots.get(key)
    if (slot !== undefined || this.#slots.size < this.#maxKeys) return slot
    this.#sweep(now, SEARCH)
    return this.#slots.size < this.#maxKeys ? undefined : OVERFLOW
  }

  /** A new key's bucket is as full as the overflow bucket: it may have been limited there, and must not be freed because another key left. */
  load (slot = OVERFLOW): Bucket {
    const cell = slot * STRIDE
    return { tokens: this.#cells[cell + TOKENS]!, at: this.#cells[cell + AT]! }
  }

  /** @param spent what it has less than before. Where requests of one key differ in burst, the smaller bucket is full while the larger isn't. */
  store (slot: number | undefined, demand: Demand, bucket: Bucket, spent: number): void {
    const known = slot === undefined ? bucket.at : Math.max(bucket.at, this.#cells[slot * STRIDE + FULL_AT]!)
    const own = fullAt(bucket, demand)
    const shifted = known + spent * 1000 / demand.rate
    // Not Math.max: endless less endless is NaN.
    const full = shifted > own ? shifted : own
    const cell = (slot ?? this.#add(demand.key, full)) * STRIDE
    this.#cells[cell + TOKENS] = bucket.tokens
    this.#cells[cell + AT] = bucket.at
    this.#cells[cell + FULL_AT] = full
  }

  #add (key: string, full: number): number {
    const slot = this.#free.pop() ?? this.#keys.length
    if (slot * STRIDE >= this.#cells.length) {
      const larger = new Float64Array(this.#cells.length * 2)
      larger.set(this.#cells)
      this.#cells = larger
    }
    const kept = ownCopy(key)
    this.#keys[slot] = kept
    this.#slots.set(kept, slot)
    this.#wheel.schedule(slot, full)
    return slot
  }

  /** Forgets up to `limit` buckets that are full again. */
  #sweep (now: number, limit: number): void {
    this.#wheel.advance(now)
    for (let i = 0; i < limit; i++) {
      const slot = this.#wheel.next()
      if (slot < 0) return
      const full = this.#cells[slot * STRIDE + FULL_AT]!
      if (full > now) {
        this.#wheel.schedule(slot, full)
      } else {
        this.#slots.delete(this.#keys[slot]!)
        this.#keys[slot] = ''
        this.#free.push(slot)
      }
    }
  }
}

interface Found {
  table: Table
  slot: number | undefined
  bucket: Bucket
}

export class MemoryStore implements Store {
  readonly #tables = new Map<string, Table>()
  readonly #clock: Clock
  readonly #maxKeys: number

  /** @param maxKeys of each policy */
  constructor (clock: Clock, maxKeys: number) {
    this.#clock = clock
    this.#maxKeys = maxKeys
  }

  /** Buckets remembered: those that aren't full, and those that became full since the last few operations. */
  get size (): number {
    let size = 0
    for (const table of this.#tables.values()) size += table.size
    return size
  }

  take (demands: readonly Demand[], maxWait: number): Verdict {
    const at = this.#clock.now()
    const found: Found[] = []
    const outcomes: Outcome[] = []
    let granted = true
    let shared = false
    for (const demand of demands) {
      const table = this.#table(demand.policy, at)
      const slot = table.find(demand.key, at)
      if (slot === OVERFLOW) shared = true
      const bucket = advance(table.load(slot), at, demand)
      const wait = delay(bucket, demand.cost, demand)
      if (wait > maxWait) granted = false
      found.push({ table, slot, bucket })
      outcomes.push({ tokens: bucket.tokens, wait })
    }
    if (granted) {
      for (let i = 0; i < demands.length; i++) {
        const demand = demands[i]!
        const { table, slot, bucket } = found[i]!
        if (demand.cost === 0) continue
        const spent = spend(bucket, demand.cost)
        table.store(slot, demand, spent, demand.cost)
        outcomes[i] = { tokens: spent.tokens, wait: outcomes[i]!.wait }
      }
    }
    // Tokens of the shared bucket aren't given back: by then the key may have a bucket of its own, which they would fill.
    return { granted, outcomes, at, store: shared ? undefined : this }
  }

  giveBack (demand: Demand, actsAt: number): number {
    const at = this.#clock.now()
    const table = this.#table(demand.policy, at)
    const slot = table.find(demand.key, at)
    // Forgotten, so full: there is nothing to give back to, least of all the bucket that others share.
    if (slot === undefined || slot === OVERFLOW) return 0
    const before = advance(table.load(slot), at, demand)
    const bucket = giveBack(before, at, demand, demand.cost, actsAt)
    table.store(slot, demand, bucket, before.tokens - bucket.tokens)
    return bucket.tokens - before.tokens
  }

  #table (policy: string, now: number): Table {
    let table = this.#tables.get(policy)
    if (table === undefined) this.#tables.set(policy, table = new Table(now, this.#maxKeys))
    return table
  }
}
