/**
 * The events of a simulation by time, and by the order in which they were added. A binary heap in parallel arrays: an
 * event allocates nothing.
 */
export class Agenda<Subject> {
  readonly #times: number[] = []
  readonly #orders: number[] = []
  readonly #kinds: number[] = []
  readonly #subjects: Subject[] = []
  #added = 0
  /** The event that next() has taken out. */
  at = 0
  kind = 0
  subject: Subject | undefined

  add (at: number, kind: number, subject: Subject): void {
    this.#added++
    let index = this.#times.length
    this.#times.push(at)
    this.#orders.push(this.#added)
    this.#kinds.push(kind)
    this.#subjects.push(subject)
    while (index > 0) {
      const above = (index - 1) >> 1
      if (this.#times[above]! <= at) break
      this.#move(above, index)
      index = above
    }
    this.#put(index, at, this.#added, kind, subject)
  }

  /** Takes out the earliest event. Returns false if there is none. */
  next (): boolean {
    if (this.#times.length === 0) return false
    this.at = this.#times[0]!
    this.kind = this.#kinds[0]!
    this.subject = this.#subjects[0]!
    const at = this.#times.pop()!
    const order = this.#orders.pop()!
    const kind = this.#kinds.pop()!
    const subject = this.#subjects.pop()!
    const length = this.#times.length
    if (length === 0) return true
    let index = 0
    for (let below = 1; below < length; below = 2 * index + 1) {
      if (below + 1 < length && this.#earlier(below + 1, this.#times[below]!, this.#orders[below]!)) below++
      if (!this.#earlier(below, at, order)) break
      this.#move(below, index)
      index = below
    }
    this.#put(index, at, order, kind, subject)
    return true
  }

  #earlier (index: number, at: number, order: number): boolean {
    const time = this.#times[index]!
    return time < at || (time === at && this.#orders[index]! < order)
  }

  #move (from: number, to: number): void {
    this.#put(to, this.#times[from]!, this.#orders[from]!, this.#kinds[from]!, this.#subjects[from]!)
  }

  #put (index: number, at: number, order: number, kind: number, subject: Subject): void {
    this.#times[index] = at
    this.#orders[index] = order
    this.#kinds[index] = kind
    this.#subjects[index] = subject
  }
}
