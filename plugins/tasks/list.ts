/**
 * A first-in-first-out list whose members can leave from the middle in O(1): a replaced or cancelled task leaves no tombstone
 * behind, of which an array would collect any number while its head is blocked. Members carry their own links.
 */
export interface Linked<T extends Linked<T>> {
  list: List<T> | undefined
  previous: T | undefined
  next: T | undefined
}

export class List<T extends Linked<T>> {
  #head: T | undefined
  #tail: T | undefined
  #size = 0

  get size (): number {
    return this.#size
  }

  push (member: T): void {
    member.list = this
    member.previous = this.#tail
    if (this.#tail === undefined) this.#head = member
    else this.#tail.next = member
    this.#tail = member
    this.#size++
  }

  shift (): T | undefined {
    const member = this.#head
    if (member !== undefined) this.remove(member)
    return member
  }

  /** False if it isn't, or no longer, in this list. */
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

  /** `newcomer` takes the position of `member`. */
  replace (member: T, newcomer: T): void {
    const { previous, next } = member
    newcomer.list = this
    newcomer.previous = previous
    newcomer.next = next
    if (previous === undefined) this.#head = newcomer
    else previous.next = newcomer
    if (next === undefined) this.#tail = newcomer
    else next.previous = newcomer
    member.list = member.previous = member.next = undefined
  }
}
