/**
 * The order in which waiting jobs get threads: fair to keys by thread time, weighted by priority, and fresh jobs before late ones (see key-queue.ts).
 *
 * This is self-clocked fair queueing (Golestani 1994), with costs that are estimated when a job is taken and settled when it has run. Each key has an
 * account in virtual time. The key whose next job would end earliest is served next, and the virtual clock is the end of the job last taken. A key that
 * begins to wait starts at the clock, so it can't save up a claim by being idle. Deficit round-robin was rejected: with costs known only afterwards, one
 * long run leaves a debt of thousands of rounds, and a round in which a key spends a large quantum at once makes the others wait for all of it.
 *
 * A key that has only late jobs, and was not served within the wait limit, is demoted: it comes after all other keys of its class. Otherwise, of many
 * keys with one job each, those that have waited longest and are about to leave would be served first.
 */
import type { Priority } from '../../../workers/jobs.ts'
import type { Estimates } from './estimates.ts'
import { KeyQueueHeap, LongestQueue } from './key-queue-orders.ts'
import { KeyQueue } from './key-queue.ts'
import { LinkedList } from './linked-list.ts'
import { priorities, type QueueEntry } from './queue-entry.ts'

/** The thread time that each class gets for each ms that the lowest gets, while both have jobs waiting. */
const WEIGHTS = { high: 8, normal: 4, low: 1 } as const
/** The least cost of a job, in ms: otherwise a key whose runs measure 0 ms would be served without end. */
const LEAST_COST = 0.01

class PriorityClass {
  readonly weight: number
  readonly queues = new Map<string, KeyQueue>()
  /** The queues with entries. */
  readonly heap = new KeyQueueHeap()
  length = 0
  /** The expected run time of all that wait, and of the fresh ones, in ms. */
  work = 0
  freshWork = 0
  /** Queues with fresh entries. */
  freshKeys = 0
  /** The virtual clock of the keys. */
  clock = 0
  /** The account of the class among the classes. */
  paid = 0

  constructor (priority: Priority) {
    this.weight = WEIGHTS[priority]
  }
}

export class FairQueue {
  readonly #estimates: Estimates
  readonly #byPriority = { high: new PriorityClass('high'), normal: new PriorityClass('normal'), low: new PriorityClass('low') }
  readonly #classes = priorities.map((priority) => this.#byPriority[priority])
  readonly #longest = new LongestQueue()
  readonly #byAge = new LinkedList<QueueEntry>()
  /** Entries waiting. */
  length = 0
  /** The expected run time of all that wait, and of the fresh ones, in ms. */
  work = 0
  freshWork = 0
  /** The virtual clock of the classes. */
  #clock = 0

  constructor (estimates: Estimates) {
    this.#estimates = estimates
  }

  /** Keys with something waiting or running. */
  get keys (): number {
    return this.#classes.reduce((keys, { queues }) => keys + queues.size, 0)
  }

  /** The key with the most entries waiting. */
  get longest (): KeyQueue | undefined {
    return this.#longest.queue
  }

  /** The entry that has waited here longest, of those that were not promised a thread. */
  get oldest (): QueueEntry | undefined {
    return this.#byAge.first
  }

  /** Returns the queue of the entry's key and priority, if there is one. */
  find ({ priority, key }: QueueEntry): KeyQueue | undefined {
    return this.#byPriority[priority].queues.get(key)
  }

  /**
   * Returns the thread time, in ms, that is expected to be served before an arriving entry, if the entry is fresh until its turn. This is an upper bound in
   * O(1): the fresh entries of its key take turns with those of every other key, and no key is served more than it has waiting.
   */
  freshWorkBefore (entry: QueueEntry): number {
    const own = this.#byPriority[entry.priority]
    const queue = this.find(entry)
    const keys = own.freshKeys + (queue === undefined || queue.isLate ? 1 : 0)
    return this.#shared(own, ((queue?.freshWork ?? 0) + entry.expected) * keys, own.freshWork, this.freshWork)
  }

  /** Returns an upper bound, in ms of thread time, on what is served until all that waits of the entry's key, and `more` ms of work, has been served. */
  workUntil (entry: QueueEntry, more: number): number {
    const own = this.#byPriority[entry.priority]
    const queue = this.find(entry)
    const keys = own.heap.size + (queue === undefined || queue.length === 0 ? 1 : 0)
    return this.#shared(own, ((queue?.work ?? 0) + more) * keys, own.work + more, this.work + more)
  }

  /** Adds a new arrival. */
  push (entry: QueueEntry): void {
    const queue = this.#queueOf(entry)
    this.#startAtClock(queue)
    this.#change(queue, () => queue.append(entry))
    if (!entry.assured) this.#byAge.append(entry.ageLink)
  }

  /** Adds an entry that waited elsewhere, at its place in the order of arrival. */
  insert (entry: QueueEntry): void {
    const queue = this.#queueOf(entry)
    this.#startAtClock(queue)
    this.#change(queue, () => queue.insert(entry))
    this.#byAge.append(entry.ageLink)
  }

  /** Adds an entry that was taken and never ran. Its key pays nothing, and keeps the account that it had even if the clock has passed it. */
  restore (entry: QueueEntry): void {
    const queue = this.#queueOf(entry)
    queue.running--
    this.#charge(queue, -entry.charged)
    this.#change(queue, () => queue.insert(entry))
  }

  /** The queue to be served next. */
  next (): KeyQueue | undefined {
    let best: KeyQueue | undefined
    let earliest = Infinity
    for (const { heap, paid, weight } of this.#classes) {
      const head = heap.top?.head
      if (head === undefined) continue
      const end = paid + this.#cost(head) / weight
      if (end >= earliest) continue
      earliest = end
      best = heap.top
    }
    return best
  }

  /** Makes the oldest fresh entry of a queue late. */
  postpone (queue: KeyQueue): void {
    this.#change(queue, () => queue.postpone())
  }

  /** Puts a queue that has only late entries after those that have others. */
  demote (queue: KeyQueue): void {
    queue.demoted = true
    this.#byPriority[queue.priority].heap.moved(queue)
  }

  /** Takes out the entry to be served next, and charges its key. */
  shift (entry: QueueEntry, now: number): void {
    const queue = this.#queueOf(entry)
    const own = this.#byPriority[entry.priority]
    entry.charged = this.#cost(entry)
    if (queue.demoted) queue.start = Math.max(queue.start, own.clock)
    queue.start += entry.charged
    queue.running++
    queue.servedAt = now
    queue.demoted = false
    own.clock = Math.max(own.clock, queue.start)
    own.paid += entry.charged / own.weight
    this.#clock = Math.max(this.#clock, own.paid)
    entry.ageLink.remove()
    this.#change(queue, () => queue.remove(entry))
  }

  /** Takes out an entry that isn't going to be served. Its key pays nothing. */
  remove (entry: QueueEntry): void {
    const queue = this.#queueOf(entry)
    entry.ageLink.remove()
    this.#change(queue, () => queue.remove(entry))
    this.#forget(queue)
  }

  /** Settles the account of a taken entry that has run for `run` ms: its key pays the difference to what it was charged. */
  settle (entry: QueueEntry, run: number): void {
    const queue = this.#queueOf(entry)
    queue.running--
    this.#charge(queue, Math.max(LEAST_COST, run) - entry.charged)
    this.#forget(queue)
  }

  #shared (own: PriorityClass, fair: number, inClass: number, inAll: number): number {
    let weight = 0
    for (const each of this.#classes) if (each.length > 0 || each === own) weight += each.weight
    return Math.min(inAll, Math.min(inClass, fair) * weight / own.weight)
  }

  #queueOf ({ priority, key }: QueueEntry): KeyQueue {
    const { queues } = this.#byPriority[priority]
    let queue = queues.get(key)
    if (queue === undefined) queues.set(key, queue = new KeyQueue(key, priority))
    return queue
  }

  /** Moves the account of a class, and of a key, that begins to wait up to its clock. */
  #startAtClock (queue: KeyQueue): void {
    const own = this.#byPriority[queue.priority]
    if (own.length === 0) own.paid = Math.max(own.paid, this.#clock)
    if (queue.length === 0) queue.start = Math.max(queue.start, own.clock)
  }

  /** Changes the entries of a queue, and all that depends on them: the sums, the heap and the longest queue. */
  #change (queue: KeyQueue, change: () => void): void {
    const own = this.#byPriority[queue.priority]
    const { length, work, freshWork, isLate, head } = queue
    change()
    own.length += queue.length - length
    own.work += queue.work - work
    own.freshWork += queue.freshWork - freshWork
    this.length += queue.length - length
    this.work += queue.work - work
    this.freshWork += queue.freshWork - freshWork
    own.freshKeys += Number(!queue.isLate) - Number(!isLate)
    if (queue.length !== length) this.#longest.moved(queue)
    const next = queue.head
    if (next === undefined) {
      queue.demoted = false
      own.heap.remove(queue)
    } else if (next !== head) {
      if (!queue.isLate) queue.demoted = false
      queue.nextSequence = next.sequence
      queue.finish = queue.start + this.#cost(next)
      if (head === undefined) own.heap.add(queue)
      else own.heap.moved(queue)
    }
  }

  /** Invariant: `start` is what the key has been charged; `finish` is that and the cost of its next entry. */
  #charge (queue: KeyQueue, ms: number): void {
    const own = this.#byPriority[queue.priority]
    own.paid += ms / own.weight
    queue.start += ms
    if (queue.length === 0) return
    queue.finish += ms
    own.heap.moved(queue)
  }

  /** Keeps no state of a key without jobs. */
  #forget (queue: KeyQueue): void {
    if (queue.length === 0 && queue.running === 0) this.#byPriority[queue.priority].queues.delete(queue.key)
  }

  #cost ({ job }: QueueEntry): number {
    return Math.max(LEAST_COST, this.#estimates.of(job).mean)
  }
}
