/**
 * Who did most of something, in memory of a fixed size, however many there are and whatever they call themselves: the
 * counts of Misra and Gries (1982). A key is never counted for more than it did, so nobody is blamed wrongly; it may be
 * counted for less, by one part in `keys` + 1 of all at most.
 */
class Counts {
  readonly counts = new Map<string, number>()
  readonly #keys: number

  constructor (keys: number) {
    this.#keys = keys
  }

  add (key: string): void {
    const { counts } = this
    const known = counts.get(key)
    if (known !== undefined) counts.set(key, known + 1)
    else if (counts.size < this.#keys) counts.set(key, 1)
    // Costs as many steps as there are keys, and takes away as many counts, each of which was one call.
    else for (const [other, count] of counts) count === 1 ? counts.delete(other) : counts.set(other, count - 1)
  }
}

/** The number of parts of the minute that is remembered. */
const PARTS = 6
const PART_MS = 10_000

/** The time that a tally remembers, in ms; the current part of it has just begun or is nearly over. */
export const TALLY_MS = PARTS * PART_MS

/** Counts by key over the last minute. */
export class Tally {
  readonly #keys: number
  #parts: Array<{ since: number, total: number, by: Counts }> = []

  /** @param keys the keys that are remembered of each part of the minute */
  constructor (keys: number) {
    this.#keys = keys
  }

  add (key: string, now: number): void {
    this.#forget(now)
    let part = this.#parts.at(-1)
    if (part === undefined || now - part.since >= PART_MS) {
      this.#parts.push(part = { since: now, total: 0, by: new Counts(this.#keys) })
    }
    part.total++
    part.by.add(key)
  }

  /** All that was counted, of whatever key. */
  total (now: number): number {
    this.#forget(now)
    return this.#parts.reduce((sum, { total }) => sum + total, 0)
  }

  /** The counts by key, the highest first. */
  top (now: number): Array<[key: string, count: number]> {
    this.#forget(now)
    const sums = new Map<string, number>()
    for (const { by } of this.#parts) for (const [key, count] of by.counts) sums.set(key, (sums.get(key) ?? 0) + count)
    return [...sums].sort(([, a], [, b]) => b - a)
  }

  #forget (now: number): void {
    while (this.#parts[0] !== undefined && now - this.#parts[0].since >= TALLY_MS) this.#parts.shift()
  }
}
