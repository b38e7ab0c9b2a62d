/**
 * The waiting jobs of one key in one priority class, oldest first, and its account of thread time.
 */
import type { Ticket } from './ticket.ts'

export class Flow {
  readonly key: string
  readonly rank: number

  /** Jobs waiting. */
  length = 0
  /** Jobs taken and not finished: their measured time is still to be charged here. */
  running = 0
  /** The expected run time of the waiting jobs, in ms. */
  work = 0

  /** Virtual time at which the service of its first job starts, and ends: see fair-queue.ts. */
  start = 0
  finish = 0
  /** The order of becoming runnable breaks ties, so that jobs which cost nothing still take turns. */
  turn = 0
  /** Its index in the heap of its class, -1 outside. */
  heapIndex = -1

  /** Its neighbours among the flows of the same length: see longest.ts. */
  peerNext: Flow | undefined = undefined
  peerPrevious: Flow | undefined = undefined

  // Two lists, each in the order of arrival: most jobs join at the tail of the first; those that come back (from a thread
  // that died, or from behind their cap) have a place further ahead, and are few. Walking one list to find their place would cost O(n).
  #first: Ticket | undefined = undefined
  #last: Ticket | undefined = undefined
  #firstBack: Ticket | undefined = undefined
  #lastBack: Ticket | undefined = undefined

  constructor (key: string, rank: number) {
    this.key = key
    this.rank = rank
  }

  /** The oldest. */
  get head (): Ticket | undefined {
    const first = this.#first
    const back = this.#firstBack
    if (back === undefined) return first
    return first === undefined || back.sequence < first.sequence ? back : first
  }

  /** The newest. */
  get tail (): Ticket | undefined {
    const last = this.#last
    const back = this.#lastBack
    if (back === undefined) return last
    return last === undefined || back.sequence > last.sequence ? back : last
  }

  /** Adds a job that arrived after all others. */
  append (ticket: Ticket): void {
    ticket.previous = this.#last
    if (this.#last === undefined) this.#first = ticket
    else this.#last.next = ticket
    this.#last = ticket
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

  remove (ticket: Ticket): void {
    const { previous, next } = ticket
    if (previous !== undefined) previous.next = next
    else if (this.#first === ticket) this.#first = next
    else this.#firstBack = next
    if (next !== undefined) next.previous = previous
    else if (this.#last === ticket) this.#last = previous
    else this.#lastBack = previous
    ticket.previous = ticket.next = undefined
    this.length--
    // Sums of floating point numbers drift: an empty queue is the occasion to be exact again.
    this.work = this.length === 0 ? 0 : this.work - ticket.expected
  }

  #count (ticket: Ticket): void {
    ticket.flow = this
    this.length++
    this.work += ticket.expected
  }
}
