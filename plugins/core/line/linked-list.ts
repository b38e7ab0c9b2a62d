/**
 * A doubly linked list that any value leaves in O(1). Its links belong to the values, so that joining a list allocates
 * nothing.
 */

/** The membership of one value in one list. A link that is in no list is its own neighbour. */
export class Link<T> {
  readonly value: T
  previous: Link<T | undefined> = this
  next: Link<T | undefined> = this

  constructor (value: T) {
    this.value = value
  }

  insertBefore (next: Link<T | undefined>): void {
    this.previous = next.previous
    this.next = next
    this.previous.next = next.previous = this
  }

  /** Takes the link out of its list. A link that is in none stays as it is. */
  remove (): void {
    this.previous.next = this.next
    this.next.previous = this.previous
    this.previous = this.next = this
  }
}

/** The list is circular: it is itself the link without a value between its last link and its first. */
export class LinkedList<T> extends Link<T | undefined> {
  constructor () {
    super(undefined)
  }

  get first (): T | undefined {
    return this.next.value
  }

  get last (): T | undefined {
    return this.previous.value
  }

  append (link: Link<T>): void {
    link.insertBefore(this)
  }

  /** Inserts a link behind the last value that is not after it, in O(values after it). */
  insert (link: Link<T>, isAfter: (value: T) => boolean): void {
    let next: Link<T | undefined> = this
    while (next.previous.value !== undefined && isAfter(next.previous.value)) next = next.previous
    link.insertBefore(next)
  }
}
