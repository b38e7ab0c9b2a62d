/**
 * Heap is a binary heap, whose top comes before all other members. Each member knows its index, so that it moves and
 * leaves in O(log members).
 */

/** A member keeps its index in one of these fields, since it may be in two heaps at a time. */
export interface HeapMember {
  /** -1 outside. */
  index: number
  /** -1 outside. */
  lastIndex: number
}

export class Heap<T extends HeapMember> {
  readonly #members: T[] = []
  readonly #isBefore: (a: T, b: T) => boolean
  readonly #field: keyof HeapMember

  constructor (isBefore: (a: T, b: T) => boolean, field: keyof HeapMember = 'index') {
    this.#isBefore = isBefore
    this.#field = field
  }

  get top (): T | undefined {
    return this.#members[0]
  }

  /**
   * Visits the members for which `visit` returns true, and those right behind each of them. Whoever comes before a
   * member that is to be visited must be, too.
   */
  visit (visit: (member: T) => boolean, index = 0): void {
    const member = this.#members[index]
    if (member === undefined || !visit(member)) return
    this.visit(visit, 2 * index + 1)
    this.visit(visit, 2 * index + 2)
  }

  add (member: T): void {
    this.#members.push(member)
    this.#up(member, this.#members.length - 1)
  }

  /** Call this method when the order of `member` may have changed. */
  moved (member: T): void {
    if (this.#members.length === 1) return
    this.#up(member, member[this.#field])
    this.#down(member, member[this.#field])
  }

  remove (member: T): void {
    const last = this.#members.pop()
    if (last !== undefined && last !== member) {
      this.#put(last, member[this.#field])
      this.moved(last)
    }
    this.#mark(member, -1)
  }

  #mark (member: HeapMember, index: number): void {
    member[this.#field] = index
  }

  #put (member: T, index: number): void {
    this.#members[index] = member
    this.#mark(member, index)
  }

  #up (member: T, index: number): void {
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = this.#members[above]
      if (parent === undefined || !this.#isBefore(member, parent)) break
      this.#put(parent, index)
      index = above
    }
    this.#put(member, index)
  }

  #down (member: T, index: number): void {
    for (;;) {
      let below = 2 * index + 1
      let child = this.#members[below]
      const other = this.#members[below + 1]
      if (child !== undefined && other !== undefined && this.#isBefore(other, child)) {
        child = other
        below++
      }
      if (child === undefined || !this.#isBefore(child, member)) break
      this.#put(child, index)
      index = below
    }
    this.#put(member, index)
  }
}
