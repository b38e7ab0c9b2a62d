/**
 * The waiting jobs of one key in one class of priority, and the key's account of thread time. (Fair queueing calls it a flow.)
 *
 * An entry is fresh until it has waited longer than its key's wait limit, and late from then on. Fresh entries are served first, in the order of
 * arrival. Late entries are served after them, the newest first.
 */
import type { Priority } from '../../../workers/jobs.ts'
import { Link, LinkedList } from './linked-list.ts'
import type { QueueEntry } from './queue-entry.ts'

export class KeyQueue {
  readonly key: string
  readonly priority: Priority

  /** Entries waiting. */
  length = 0
  /** Entries taken and not finished. Their measured time is still to be charged to this key. */
  running = 0
  /** The expected run time of the waiting entries, in ms. */
  work = 0
  /** The expected run time of those that are not late, in ms. */
  freshWork = 0
  /** When an entry of this queue was last taken. */
  servedAt = -Infinity
  /** The queue comes after every queue that is not demoted: see fair-queue.ts. */
  demoted = false

  /** The virtual time at which the service of the next entry starts, and at which it ends: see fair-queue.ts. */
  start = 0
  finish = 0
  /** The sequence number of the next entry. */
  nextSequence = 0
  /** The index in the heap of the class, -1 outside. */
  heapIndex = -1
  /** The link in the list of the queues of the same length: see key-queue-orders.ts. */
  readonly lengthLink = new Link<KeyQueue>(this)

  readonly #fresh = new LinkedList<QueueEntry>()
  readonly #late = new LinkedList<QueueEntry>()
  /**
   * Entries that waited elsewhere before, for a permit or for a thread that died. They keep their place in the order of arrival, and never become late.
   * They are few; to find their place among the fresh ones would cost O(n).
   */
  readonly #returned = new LinkedList<QueueEntry>()

  constructor (key: string, priority: Priority) {
    this.key = key
    this.priority = priority
  }

  /** The entry that is served next. */
  get head (): QueueEntry | undefined {
    const fresh = this.#fresh.first
    const returned = this.#returned.first
    if (returned === undefined) return fresh ?? this.#late.last
    return fresh === undefined || returned.sequence < fresh.sequence ? returned : fresh
  }

  /** The entry that is served last. */
  get tail (): QueueEntry | undefined {
    const fresh = this.#fresh.last
    const returned = this.#returned.last
    if (this.#late.first !== undefined || returned === undefined) return this.#late.first ?? fresh
    return fresh === undefined || returned.sequence > fresh.sequence ? returned : fresh
  }

  /** The oldest of the entries that can become late. */
  get oldestFresh (): QueueEntry | undefined {
    return this.#fresh.first
  }

  /** Whether all waiting entries are late. */
  get isLate (): boolean {
    return this.#fresh.first === undefined && this.#returned.first === undefined
  }

  /** Adds an entry that arrived after all others. */
  append (entry: QueueEntry): void {
    this.#fresh.append(entry.link)
    this.#added(entry)
  }

  /** Adds an entry that comes back, at its place in the order of arrival. */
  insert (entry: QueueEntry): void {
    this.#returned.insert(entry.link, ({ sequence }) => sequence > entry.sequence)
    this.#added(entry)
  }

  /** Makes the oldest fresh entry late. */
  postpone (): void {
    const entry = this.#fresh.first
    if (entry === undefined) return
    entry.late = true
    entry.link.remove()
    this.#late.append(entry.link)
    this.freshWork -= entry.expected
  }

  remove (entry: QueueEntry): void {
    entry.link.remove()
    this.length--
    this.work -= entry.expected
    if (!entry.late) this.freshWork -= entry.expected
  }

  #added (entry: QueueEntry): void {
    entry.late = false
    this.length++
    this.work += entry.expected
    this.freshWork += entry.expected
  }
}
