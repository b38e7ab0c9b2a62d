/**
 * A flow: the waiting jobs of one key in one priority class, and the key's account of thread time. (Flow is fair queueing's term for a per-key queue.)
 *
 * A job is fresh until it has waited longer than its key's wait limit, and late from then on. Since jobs wait in the order of arrival, the late
 * ones are a prefix of the list. A flow serves its fresh jobs first, oldest first, and then its late jobs, newest first.
 */
import type { Ticket } from './queue-entry.ts'

export class Flow {
  readonly key: string
  readonly rank: number

  /** Jobs waiting. */
  length = 0
  /** Jobs taken and not finished: their measured time is still to be charged here. */
  running = 0
  /** The expected run time of the waiting jobs, and of the fresh ones, in ms. */
  work = 0
  freshWork = 0
  /** When a job of this flow was last taken. */
  servedAt = -Infinity
  /** The flow comes after every flow that isn't demoted: see fair-queue.ts. */
  demoted = false

  /** Virtual time at which the service of the next job starts, and ends: see fair-queue.ts. */
  start = 0
  finish = 0
  /** The order of becoming runnable breaks ties, so that jobs which cost nothing still take turns. */
  turn = 0
  /** The flow's index in the heap of its class, -1 outside. */
  heapIndex = -1

  /** The neighbours among the flows of the same length: see longest.ts. */
  peerNext: Flow | undefined = undefined
  peerPrevious: Flow | undefined = undefined

  #first: Ticket | undefined = undefined
  #last: Ticket | undefined = undefined
  #oldestFresh: Ticket | undefined = undefined
  // A second list, in the order of arrival too, holds the jobs that come back (from a thread that died, or from behind their cap). They are few
  // and belong further ahead: finding their place in the first list would cost O(n). They stay fresh, because they have waited already.
  #firstBack: Ticket | undefined = undefined
  #lastBack: Ticket | undefined = undefined

  constructor (key: string, rank: number) {
    this.key = key
    this.rank = rank
  }

  /** The job that this flow serves next. */
  get head (): Ticket | undefined {
    const fresh = this.#oldestFresh
    const back = this.#firstBack
    if (back === undefined) return fresh ?? this.#last
    return fresh === undefined || back.sequence < fresh.sequence ? back : fresh
  }

  /** The job that this flow serves last. */
  get tail (): Ticket | undefined {
    const first = this.#first
    if (first?.late === true) return first
    const last = this.#last
    const back = this.#lastBack
    if (back === undefined) return last
    return last === undefined || back.sequence > last.sequence ? back : last
  }

  /** The oldest fresh job, among those that can become late. */
  get oldestFresh (): Ticket | undefined {
    return this.#oldestFresh
  }

  /** All of the waiting jobs are late. */
  get late (): boolean {
    return this.#oldestFresh === undefined && this.#firstBack === undefined
  }

  /** Adds a job that arrived after all others. */
  append (ticket: Ticket): void {
    ticket.previous = this.#last
    if (this.#last === undefined) this.#first = ticket
    else this.#last.next = ticket
    this.#last = ticket
    this.#oldestFresh ??= ticket
    this.#count(ticket)
  }

  /** Adds a job that comes back, at its place in the order of arrival. */
  insert (ticket: Ticket): void {
    let before = this.#lastBack
    while (before !== undefined && before.sequence > ticket.sequence) before = before.previous
    const after = before === undefined ? this.#firstBack : before.next
    ticket.previous = before
    ticket.next = after
    if (before === undefined) this.#firstBack = ticket
    else before.next = ticket
    if (after === undefined) this.#lastBack = ticket
    else after.previous = ticket
    this.#count(ticket)
  }

  /** Makes the oldest fresh job late. */
  postpone (): void {
    const ticket = this.#oldestFresh!
    ticket.late = true
    this.#oldestFresh = ticket.next
    this.freshWork = this.late ? 0 : this.freshWork - ticket.expected
  }

  remove (ticket: Ticket): void {
    const { previous, next } = ticket
    if (this.#oldestFresh === ticket) this.#oldestFresh = next
    if (previous !== undefined) previous.next = next
    else if (this.#first === ticket) this.#first = next
    else this.#firstBack = next
    if (next !== undefined) next.previous = previous
    else if (this.#last === ticket) this.#last = previous
    else this.#lastBack = previous
    ticket.previous = ticket.next = undefined
    this.length--
    this.work = this.length === 0 ? 0 : this.work - ticket.expected
    this.freshWork = this.late ? 0 : this.freshWork - (ticket.late ? 0 : ticket.expected)
  }

  #count (ticket: Ticket): void {
    ticket.flow = this
    ticket.late = false
    this.length++
    this.work += ticket.expected
    this.freshWork += ticket.expected
  }
}
