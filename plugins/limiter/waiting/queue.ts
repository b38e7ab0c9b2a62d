/**
 * The queue of callers that wait for tokens of one bucket, without timers: the time is an argument.
 *
 * Each waiter makes a reservation in the store: a slot. When a waiter leaves, the waiters behind it take over its slot in turn. Tokens that
 * no waiter needs any more go back to the store, the last ones first, because a store takes back only tokens on top of which nothing was
 * reserved (as x/time/rate does). Tokens that the store can't take back stay for the next waiter. So waiters that leave cost nobody a token,
 * in whatever order they leave.
 *
 * A queue in which only the first waiter reserves was rejected, although it needs half the code. It knows only the waiters of its own
 * process, so with n processes on one Redis it would accept n times as many waiters as can be served in time.
 */
import type { Charge, Store } from '../stores/store.ts'

/** A Slot is a reservation in the store. Its tokens arrive one by one, at the rate. */
export interface Slot {
  /** The charge that was granted. */
  readonly charge: Charge
  /** The store that takes the tokens back; undefined if there is none. */
  readonly store: Store | undefined
  /** When the last token arrives, in ms of the store's clock. */
  actsAt: number
  /** When the last token arrives, in ms of this process's clock. */
  due: number
  /** The number of tokens that no waiter has used yet. */
  tokens: number
  /** Whether the store could not take the tokens back. */
  readonly isKept: boolean
}

/** A position in the slots: `used` tokens of the slot `index` are used, and all tokens of the slots before that slot. */
interface Position {
  index: number
  used: number
}

export interface Waiter {
  readonly cost: number
  /** When the waiter's tokens are there, in ms of this process's clock; `Infinity` while no slots are granted for the waiter. */
  due: number
  /** The position where the waiter's tokens begin. Tokens before it that no waiter has can't be combined with them. */
  start: Position
  /** The position where the waiter's tokens end. */
  end: Position
}

/** Returns the time in which so many tokens of a slot arrive, in ms. */
function span ({ charge }: Slot, tokens: number): number {
  return tokens * 1000 / charge.rate
}

/** Reports whether no reservation of other callers lies between two slots. Half a token is the tolerance for rounding. */
function follows (slot: Slot, before: Slot | undefined): boolean {
  return before !== undefined && slot.store === before.store && slot.actsAt - before.actsAt < span(slot, slot.tokens + 0.5)
}

export class WaitQueue<W extends Waiter> {
  readonly #waiters: W[] = []
  #slots: Slot[] = []
  /** The position where the tokens of the last waiter end. */
  #end: Position = { index: 0, used: 0 }

  get waiters (): readonly W[] {
    return this.#waiters
  }

  /** Whether the queue has neither waiters nor tokens. */
  get isEmpty (): boolean {
    return this.#waiters.length === 0 && this.#slots.length === 0
  }

  /** The time of the next call of `serve`, in ms of this process's clock; undefined if there is nothing to do before the store answers. */
  get next (): number | undefined {
    const due = (this.#waiters[0] ?? this.#slots.at(-1))?.due
    return due === Infinity ? undefined : due
  }

  /**
   * Adds a waiter. If the waiter's `due` is `Infinity` afterwards, the caller must reserve a slot of the waiter's whole cost.
   *
   * @param now in ms of this process's clock
   */
  add (waiter: W, now: number): void {
    this.#expire(now)
    this.#waiters.push(waiter)
    this.#allot()
  }

  /** Returns whether the waiter was in the queue. */
  remove (waiter: W, now: number): boolean {
    const index = this.#waiters.indexOf(waiter)
    if (index === -1) return false
    this.#waiters.splice(index, 1)
    this.#expire(now)
    this.#allot()
    return true
  }

  addSlot (slot: Slot): void {
    this.#slots.push(slot)
    this.#slots.sort((a, b) => a.due - b.due)
    this.#allot()
  }

  /** Removes and returns the waiters whose tokens are there, in order. */
  serve (now: number): W[] {
    const served: W[] = []
    while (this.#waiters.length > 0 && this.#waiters[0]!.due <= now) {
      const waiter = this.#waiters.shift()!
      this.#slots.splice(0, waiter.end.index)
      if (waiter.end.used > 0) this.#slots[0]!.tokens -= waiter.end.used
      served.push(waiter)
      this.#allot()
    }
    this.#expire(now)
    this.#allot()
    return served
  }

  /**
   * Forgets tokens that no waiter has, and that are past their time. They are lost, as in a full bucket: used later, they could act together with
   * those of other callers, and exceed the burst.
   */
  #expire (now: number): void {
    const [first] = this.#waiters
    const { index, used } = first === undefined || first.due === Infinity ? { index: this.#slots.length, used: 0 } : first.start
    const slot = this.#slots[index]
    if (slot !== undefined && slot.due <= now) slot.tokens -= used
    this.#slots = this.#slots.filter(({ due }, place) => place >= index || due > now)
  }

  /**
   * Removes and returns the tokens that no waiter needs, the last ones first. There are none while the store is deciding on a waiter's slot,
   * because that waiter may need them.
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
   * Allots the tokens to the waiters, first come, first served, as if each waiter had reserved its own. A waiter can't combine tokens of two
   * slots if a reservation of another caller lies between the slots: tokens used later than they were reserved for could act together with
   * that reservation, and exceed the burst.
   */
  #allot (): void {
    let index = 0
    let used = 0
    for (const waiter of this.#waiters) {
      let missing = waiter.cost
      waiter.due = Infinity
      waiter.start = { index, used }
      while (missing > 0 && index < this.#slots.length) {
        const slot = this.#slots[index]!
        if (used === 0 && !follows(slot, this.#slots[index - 1])) {
          missing = waiter.cost
          waiter.start = { index, used }
        }
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
