/**
 * What is alive at the moment: jobs whose callers wait, requests in flight. Not a Set or a Map: one that is added to and deleted from
 * without end rehashes again and again, each dead table points to the next (for iterators that may be at it), and once one is in V8's
 * old generation all that was added since is kept until a full collection: measured, a fifth of all that a short job costs.
 */
export interface Live {
  /** Its place in the list; -1 outside. Kept by {@link LiveList}. */
  liveAt: number
}

export class LiveList<T extends Live> {
  readonly #list: T[] = []

  get size (): number {
    return this.#list.length
  }

  add (one: T): void {
    one.liveAt = this.#list.push(one) - 1
  }

  /** The last takes its place. Without effect on one that isn't in the list. */
  delete (one: T): void {
    const { liveAt } = one
    if (liveAt === -1) return
    one.liveAt = -1
    const last = this.#list.pop() as T
    if (last === one) return
    this.#list[liveAt] = last
    last.liveAt = liveAt
  }

  /** A copy, in no order. */
  all (): T[] {
    return [...this.#list]
  }
}
