/**
 * The queue of callers that wait for tokens of one bucket, pure: the time is an argument.
 *
 * The tokens of the queue come in slots, which are reservations in the store. When a waiter leaves, those behind it take over its slot in
 * turn.
 * The tokens that nobody needs any more then go back to the store, the last ones first, because a store takes back only tokens on top of
 * which nothing was reserved (as x/time/rate does). Tokens that the store can't take back stay for the next waiter. So waiters that leave
 * cost nobody a token, in whatever order they leave.
 */
import type { Charge, Store } from '../stores/store.ts'

/** Tokens that the store has reserved: they come one by one, at the rate, and the last one at an instant that the store has named. */
export interface Slot {
  /** What was asked of the store. */
  readonly charge: Charge
  /** The store to give the tokens back to; undefined if there is none. */
  readonly store: Store | undefined
  /** When the last token comes, in ms of the store's clock. */
  actsAt: number
  /** When the last token comes, in ms of this process's clock. */
  due: number
  /** How many tokens no waiter has used. */
  tokens: number
  /** Whether the store could not take the tokens back. */
  readonly isKept: boolean
}

/** A place in the slots: so many tokens of the slot `index` are used, and all tokens of the slots before it. */
interface Position {
  index: number
  used: number
}

export interface Waiter {
  readonly cost: number
  /** When its tokens are there, in ms of this process's clock; `Infinity` while no slots are granted for it. */
  due: number
  /** Where its tokens end. */
  end: Position
}

/** How long the last tokens of a slot take to come, in ms. */
function span ({ charge }: Slot, tokens: number): number {
  return tokens * 1000 / charge.rate
}

/** Whether nothing of others is reserved between two slots. Half a token is the tolerance for rounding. */
function follows (slot: Slot, before: Slot | undefined): boolean {
  return before !== undefined && slot.store === before.store && slot.actsAt - before.actsAt < span(slot, slot.tokens + 0.5)
}

export class WaitQueue<W extends Waiter> {
  readonly #waiters: W[] = []
  #slots: Slot[] = []
  /** Where the tokens of the last waiter end. */
  #end: Position = { index: 0, used: 0 }

  get waiters (): readonly W[] {
    return this.#waiters
  }

  /** Whether the queue has neither waiters nor tokens. */
  get isEmpty (): boolean {
    return this.#waiters.length === 0 && this.#slots.length === 0
  }

  /** When to serve next, in ms of this process's clock; undefined if there is nothing to do before the store answers. */
  get next (): number | undefined {
    const due = (this.#waiters[0] ?? this.#slots.at(-1))?.due
    return due === Infinity ? undefined : due
  }

  /** Adds a waiter. It needs a slot of its own, of its whole cost, unless its `due` is finite then. */
  add (waiter: W): void {
    this.#waiters.push(waiter)
    this.#allot()
  }

  /** Returns whether the waiter was in the queue. */
  remove (waiter: W): boolean {
    const index = this.#waiters.indexOf(waiter)
    if (index === -1) return false
    this.#waiters.splice(index, 1)
    this.#allot()
    return true
  }

  addSlot (slot: Slot): void {
    this.#slots.push(slot)
    this.#slots.sort((a, b) => a.due - b.due)
    this.#allot()
  }

  /**
   * Takes the waiters out whose tokens are there, in their order. Tokens that no waiter has used in time are lost, as those of a full
   * bucket are.
   */
  serve (now: number): W[] {
    const served: W[] = []
    while (this.#waiters.length > 0 && this.#waiters[0]!.due <= now) {
      const waiter = this.#waiters.shift()!
      this.#slots.splice(0, waiter.end.index)
      if (waiter.end.used > 0) this.#slots[0]!.tokens -= waiter.end.used
      served.push(waiter)
      this.#allot()
    }
    if (this.#waiters.length === 0) this.#slots = this.#slots.filter(({ due }) => due > now)
    return served
  }

  /**
   * Takes out the tokens that no waiter needs, the last ones first. There are none while a waiter's slot is being granted: that waiter may
   * need them.
   */
  spare (): Slot[] {
    const spare: Slot[] = []
    const { index, used } = this.#end
    while (this.#slots.length > index) {
      const slot = this.#slots.at(-1)!
      if (slot.isKept) break
      const needed = this.#slots.length - 1 === index ? used : 0
      const tokens = slot.tokens - needed
      spare.push({ ...slot, tokens })
      if (needed === 0) {
        this.#slots.pop()
        continue
      }
      slot.actsAt -= span(slot, tokens)
      slot.due -= span(slot, tokens)
      slot.tokens = needed
      break
    }
    return spare
  }

  /**
   * Hands the tokens out, first come, first served, as if each waiter had reserved its own. A waiter can't add up tokens with a reservation
   * of
   * others between them: tokens that are used later than they were reserved for could act together with that reservation, and exceed the
   * burst.
   */
  #allot (): void {
    let index = 0
    let used = 0
    for (const waiter of this.#waiters) {
      let missing = waiter.cost
      waiter.due = Infinity
      while (missing > 0 && index < this.#slots.length) {
        const slot = this.#slots[index]!
        if (used === 0 && !follows(slot, this.#slots[index - 1])) missing = waiter.cost
        const taken = Math.min(missing, slot.tokens - used)
        missing -= taken
        used += taken
        if (missing <= 0) waiter.due = slot.due - span(slot, slot.tokens - used)
        if (used < slot.tokens) continue
        index++
        used = 0
      }
      waiter.end = { index, used }
    }
    this.#end = { index, used }
  }
}
