/**
 * A first-in-first-out list whose members can leave from the middle in O(1): a replaced or cancelled task leaves no tombstone
 * behind, of which an array would collect any number while its head is blocked.
 */
export interface Node<T> {
  value: T
  list: List<T> | undefined
  previous: Node<T> | undefined
  next: Node<T> | undefined
}

export class List<T> {
  #head: Node<T> | undefined
  #tail: Node<T> | undefined
  #size = 0

  get size (): number {
    return this.#size
  }

  push (value: T): Node<T> {
    const node: Node<T> = { value, list: this, previous: this.#tail, next: undefined }
    if (this.#tail === undefined) this.#head = node
    else this.#tail.next = node
    this.#tail = node
    this.#size++
    return node
  }

  shift (): T | undefined {
    const node = this.#head
    if (node !== undefined) this.remove(node)
    return node?.value
  }

  /** False if it had left already. */
  remove (node: Node<T>): boolean {
    if (node.list !== this) return false
    if (node.previous === undefined) this.#head = node.next
    else node.previous.next = node.next
    if (node.next === undefined) this.#tail = node.previous
    else node.next.previous = node.previous
    node.list = node.previous = node.next = undefined
    this.#size--
    return true
  }

  * [Symbol.iterator] (): Generator<T> {
    for (let node = this.#head; node !== undefined; node = node.next) yield node.value
  }
}
