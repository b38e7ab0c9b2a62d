/**
 * The keys that cause an overload: those with the most among the jobs that came past the wait limit lately.
 *
 * When a few keys stand out, the others don't answer for the overload. When none stands out, all answer, since many keys that each ask for little are an
 * overload too.
 */

/** A key stands out if it has this share of the jobs, and at least so many. A key with less than this share of what the first has doesn't answer. */
const SHARE = 1 / 4
const LEAST = 16
/** Past so many jobs, all counts are halved: a bound on memory, and on how long a change of clients goes unnoticed. */
const REMEMBERED = 1_024

export class DominantKeys {
  /** Jobs by key. */
  readonly #counts = new Map<string, number>()
  #total = 0
  #most = 0

  /** Adds a job that came past the limit. */
  add (key: string): void {
    this.#count(key, (this.#counts.get(key) ?? 0) + 1, 1)
    if (this.#total >= REMEMBERED) this.#halve()
  }

  /** Whether a key answers for the overload. */
  answers (key: string): boolean {
    return this.#most < Math.max(LEAST, SHARE * this.#total) || (this.#counts.get(key) ?? 0) >= SHARE * this.#most
  }

  clear (): void {
    this.#counts.clear()
    this.#total = this.#most = 0
  }

  #count (key: string, count: number, more: number): void {
    this.#counts.set(key, count)
    this.#total += more
    this.#most = Math.max(this.#most, count)
  }

  #halve (): void {
    const counts = [...this.#counts]
    this.clear()
    for (const [key, count] of counts) if (count >= 2) this.#count(key, count / 2, count / 2)
  }
}
