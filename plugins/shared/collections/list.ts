/**
 * List is a first-in-first-out list whose members can leave from the middle in O(1). Members carry their own links. Rejected: an array, which
 * would collect an empty entry for each member that leaves early; a Set, whose first member is found ever more slowly as members leave.
 */
export interface Linked<T extends Linked<T>> {
  list?: List<T> | undefined
  previous?: T | undefined
  next?: T | undefined
}

export class List<T extends Linked<T>> {
  #head: T | undefined
  #tail: T | undefined
  #size = 0

  get size (): number { return this.#size }
  get first (): T | undefined { return this.#head }

  push (member: T): void {
    member.list = this
    member.previous = this.#tail
    if (this.#tail === undefined) this.#head = member
    else this.#tail.next = member
    this.#tail = member
    this.#size++
  }

  /** Returns false if the member isn't in this list, or isn't any more. */
  remove (member: T): boolean {
    if (member.list !== this) return false
    const { previous, next } = member
    if (previous === undefined) this.#head = next
    else previous.next = next
    if (next === undefined) this.#tail = previous
    else next.previous = previous
    member.list = member.previous = member.next = undefined
    this.#size--
    return true
  }
}
