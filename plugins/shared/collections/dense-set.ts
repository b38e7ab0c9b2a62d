/**
 * A dense set: an array whose members know their index, so that a member joins and leaves in O(1). It holds what is
 * alive at the moment: jobs whose callers wait, requests in flight. A Set or Map that is added to and deleted from
 * without end rehashes again and again. Each dead table points to the next, and once one is in V8's old generation, all
 * that was added since is kept until a full collection. Measured, that is a fifth of what a short job costs.
 */
export interface DenseSetMember {
  /** The index in the array; -1 outside. {@link DenseSet} keeps it. */
  denseIndex: number
}

export class DenseSet<T extends DenseSetMember> {
  readonly #members: T[] = []

  get size (): number {
    return this.#members.length
  }

  add (member: T): void {
    member.denseIndex = this.#members.push(member) - 1
  }

  /** Removes a member, whose place the last member takes. Without effect on what is not a member. */
  delete (member: T): void {
    const { denseIndex } = member
    if (denseIndex === -1) return
    member.denseIndex = -1
    const last = this.#members.pop() as T
    if (last === member) return
    this.#members[denseIndex] = last
    last.denseIndex = denseIndex
  }

  /** One of the members; undefined if there is none. */
  get any (): T | undefined {
    return this.#members[0]
  }

  /** Returns a copy, in no order. */
  all (): T[] {
    return [...this.#members]
  }
}
