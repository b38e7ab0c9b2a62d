/**
 * A hierarchical timing wheel over slot numbers, after Varghese and Lauck: what is due when, in constant time.
 *
 * Nothing runs by itself. `advance` only links the lists whose time has come to the list of due slots; `next` hands them out one by
 * one, and the caller asks for a few with each operation of its own. So a million slots due at the same instant stop nobody's world.
 * A slot that comes up from a coarse level, before its time, is scheduled again by the caller, at most once a level.
 */

/** How exact it is, in ms. */
const TICK = 8
const WIDTH = 64
/** 64 to the 7th ticks are more than a thousand years; what is due later comes up then and is scheduled again. */
const LEVELS = 7
const NONE = -1

export class Wheel {
  // A list a place of each level, and last the due one.
  readonly #heads = new Int32Array(LEVELS * WIDTH + 1).fill(NONE)
  readonly #tails = new Int32Array(LEVELS * WIDTH + 1).fill(NONE)
  readonly #due = LEVELS * WIDTH
  #links = new Int32Array(64)
  #tick: number

  constructor (now: number) {
    this.#tick = Math.floor(now / TICK)
  }

  /** Schedules a slot that isn't scheduled; it comes up within a tick after `at`. */
  schedule (slot: number, at: number): void {
    if (slot >= this.#links.length) this.#grow(slot)
    const distance = Math.max(1, Math.floor(at / TICK) + 1 - this.#tick)
    let level = 0
    let span = 1
    while (distance >= span * WIDTH && level < LEVELS - 1) {
      level++
      span *= WIDTH
    }
    const place = Math.floor((this.#tick + Math.min(distance, span * WIDTH - 1)) / span) % WIDTH
    this.#append(level * WIDTH + place, slot, slot)
  }

  /** Makes due what was scheduled up to `now`. Costs at most 64 links a level, however long ago the last call was. */
  advance (now: number): void {
    const tick = Math.floor(now / TICK)
    if (tick <= this.#tick) return
    for (let level = 0, span = 1; level < LEVELS; level++, span *= WIDTH) {
      const from = Math.floor(this.#tick / span)
      const to = Math.floor(tick / span)
      if (from === to) break
      for (let turn = Math.max(from + 1, to - WIDTH + 1); turn <= to; turn++) {
        const list = level * WIDTH + turn % WIDTH
        if (this.#heads[list] === NONE) continue
        this.#append(this.#due, this.#heads[list]!, this.#tails[list]!)
        this.#heads[list] = NONE
      }
    }
    this.#tick = tick
  }

  /** The next due slot, which is then no longer scheduled; -1 if there is none. */
  next (): number {
    const slot = this.#heads[this.#due]!
    if (slot !== NONE) this.#heads[this.#due] = this.#links[slot]!
    return slot
  }

  #append (list: number, first: number, last: number): void {
    if (this.#heads[list] === NONE) this.#heads[list] = first
    else this.#links[this.#tails[list]!] = first
    this.#links[last] = NONE
    this.#tails[list] = last
  }

  #grow (slot: number): void {
    const links = new Int32Array(Math.max(slot + 1, this.#links.length * 2))
    links.set(this.#links)
    this.#links = links
  }
}
