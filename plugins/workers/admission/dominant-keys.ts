/**
 * The keys that cause an overload: those with the most among the jobs that waited for the wait limit or longer lately.
 *
 * When a few keys stand out, the others don't answer for the overload. When none stands out, all answer, since many keys that each ask for little are an
 * overload too.
 */

/** A key stands out if it has this share of the jobs. A key with less than this share of what the first has does not answer. */
const SHARE = 1 / 4
/** A key that stands out has at least so many jobs: of a few jobs any key may have a quarter by chance. */
const LEAST = 16
/** Past so many jobs, all counts are halved: a bound on memory, and on how long a change of clients goes unnoticed. */
const REMEMBERED = 1_024

export class DominantKeys {
  /** Jobs by key. */
  readonly #counts = new Map<string, number>()
  #total = 0
  #most = 0

  /** Adds a job that waited for the limit or longer. */
  add (key: string): void {
    this.#count(key, (this.#counts.get(key) ?? 0) + 1, 1)
    if (this.#total >= REMEMBERED) this.#halve()
  }

  /** Reports whether a key answers for the overload. */
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
