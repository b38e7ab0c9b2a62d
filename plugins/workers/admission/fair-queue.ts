/**
 * The order in which waiting jobs get threads: fair to keys by thread time, weighted by priority, and fresh jobs before late ones (see flow.ts).
 *
 * A flow that has only late jobs, and was not served within the wait limit, is demoted: it comes after all other flows of its class. Otherwise, of many keys
 * with one job each, those that have waited longest and are about to leave would be served first.
 *
 * Self-clocked fair queueing (Golestani 1994), with costs that are estimated when a job is taken and settled when it has run.
 * Each key has an account in virtual time. The key whose next job would end earliest is served next, and the virtual clock is
 * the end of the job last taken. A key that begins to wait starts at the clock: it can't save up a claim by being idle.
 * Deficit round-robin was rejected: with costs known only afterwards one long run leaves a debt of thousands of rounds,
 * and a round in which a key spends a large quantum at once makes the others wait for all of it.
 */
import type { Estimates } from './estimates.ts'
import { Flow } from './key-queue.ts'
import { FlowHeap } from './flow-heap.ts'
import { Longest } from './longest.ts'
import { priorities, type Ticket } from './queue-entry.ts'

/** Thread time that a class gets for each ms that the lowest gets, while both have jobs waiting: by `rank`. */
const weights: readonly number[] = priorities.map((priority) => ({ high: 8, normal: 4, low: 1 })[priority])

/** What a job without an estimate is charged, in ms. */
const QUANTUM = 10
/** No job is free: otherwise a key whose runs measure 0 ms would be served without end. */
const LEAST_COST = 0.01

class PriorityClass {
  readonly weight: number
  readonly heap = new FlowHeap()
  readonly flows = new Map<string, Flow>()
  /** Flows with fresh jobs. */
  fresh = 0
  freshWork = 0
  /** The expected run time of all that wait, in ms. */
  work = 0
  clock = 0
  length = 0
  /** The account of the class among the classes, as a flow's among the flows. */
  paid = 0

  constructor (weight: number) {
    this.weight = weight
  }
}

export class FairQueue {
  readonly #estimates: Estimates
  readonly #longest = new Longest()
  readonly #classes = weights.map((weight) => new PriorityClass(weight))
  #oldest: Ticket | undefined = undefined
  #newest: Ticket | undefined = undefined
  #clock = 0
  #turns = 0
  length = 0
  /** The expected run time of all that wait, and of the fresh ones, in ms. */
  work = 0
  freshWork = 0

  constructor (estimates: Estimates) {
    this.#estimates = estimates
  }

  /** Keys with something waiting or running. */
  get keys (): number {
    return this.#classes.reduce((keys, { flows }) => keys + flows.size, 0)
  }

  /** The key with the most waiting. */
  get longest (): Flow | undefined {
    return this.#longest.flow
  }

  /** The job that has waited here longest, of those that weren't promised a thread. */
  get oldest (): Ticket | undefined {
    return this.#oldest
  }

  /** What waits already of its key and class. */
  flowOf ({ rank, key }: Ticket): Flow | undefined {
    return this.#classes[rank]!.flows.get(key)
  }

  /**
   * Expected thread time, in ms, that is served before this job would be, if it came now and was fresh until its turn. An upper bound in O(1):
   * the fresh jobs of its key take turns with those of every other key, and no key is served more than it has waiting.
   */
  freshWorkBefore ({ rank, expected }: Ticket, flow: Flow | undefined): number {
    const own = this.#classes[rank]!
    const flows = own.fresh + (flow === undefined || flow.late ? 1 : 0)
    return this.#shared(own, ((flow?.freshWork ?? 0) + expected) * flows, own.freshWork, this.freshWork)
  }

  /** The same for a job that came last of its key, the late jobs included: until all that waits of the key now, and `more` ms, had been served. */
  workUntil ({ rank }: Ticket, flow: Flow | undefined, more: number): number {
    const own = this.#classes[rank]!
    const flows = own.heap.size + (flow === undefined || flow.length === 0 ? 1 : 0)
    return this.#shared(own, ((flow?.work ?? 0) + more) * flows, own.work + more, this.work + more)
  }

  #shared (own: PriorityClass, fair: number, inClass: number, inAll: number): number {
    let weight = 0
    for (const each of this.#classes) if (each.length > 0 || each === own) weight += each.weight
    return Math.min(inAll, Math.min(inClass, fair) * weight / own.weight)
  }

  /** Adds a new arrival. */
  push (ticket: Ticket): void {
    this.#join(ticket, false)
    this.#append(ticket)
  }

  /** Adds a job that arrived before some that wait here, since it waited elsewhere. */
  insert (ticket: Ticket): void {
    this.#join(ticket, true)
    this.#append(ticket)
  }

  /** The job never ran: its key pays nothing, and the job is at the head of its flow again. */
  restore (ticket: Ticket): void {
    const flow = ticket.flow!
    flow.running--
    this.#charge(flow, this.#classes[flow.rank]!, -ticket.charged)
    this.#join(ticket, true, flow)
  }

  /** The flow to be served next. */
  next (): Flow | undefined {
    let best: PriorityClass | undefined
    let earliest = Infinity
    for (const each of this.#classes) {
      if (each.length === 0) continue
      const end = each.paid + this.#cost(each.heap.top!.head!) / each.weight
      if (end < earliest) {
        earliest = end
        best = each
      }
    }
    return best?.heap.top
  }

  /** Makes the oldest fresh job of a flow late. */
  postpone (flow: Flow): void {
    const own = this.#classes[flow.rank]!
    this.#change(flow, own, () => flow.postpone())
  }

  /** Puts a flow that has only late jobs after those that have others. */
  demote (flow: Flow): void {
    flow.demoted = true
    this.#classes[flow.rank]!.heap.moved(flow)
  }

  /** Takes out the job to be served next, and charges it to its key. */
  shift (ticket: Ticket, now: number): void {
    const flow = ticket.flow!
    const own = this.#classes[flow.rank]!
    ticket.charged = this.#cost(ticket)
    if (flow.demoted) flow.start = Math.max(flow.start, own.clock)
    flow.start += ticket.charged
    flow.running++
    flow.servedAt = now
    flow.demoted = false
    own.clock = Math.max(own.clock, flow.start)
    own.paid += ticket.charged / own.weight
    this.#clock = Math.max(this.#clock, own.paid)
    this.#leave(ticket, flow, own)
  }

  /** Takes out a job that isn't going to be served: its key isn't charged. */
  remove (ticket: Ticket): void {
    const flow = ticket.flow!
    const own = this.#classes[flow.rank]!
    this.#leave(ticket, flow, own)
    this.#forget(flow, own)
  }

  /** The job has run for `run` ms: its key pays the difference. */
  settle (ticket: Ticket, run: number): void {
    const flow = ticket.flow!
    const own = this.#classes[flow.rank]!
    flow.running--
    this.#charge(flow, own, Math.max(LEAST_COST, run) - ticket.charged)
    this.#forget(flow, own)
  }

  #join (ticket: Ticket, back: boolean, restored?: Flow): void {
    const own = this.#classes[ticket.rank]!
    let flow = restored ?? own.flows.get(ticket.key)
    if (flow === undefined) {
      flow = new Flow(ticket.key, ticket.rank)
      own.flows.set(ticket.key, flow)
    }
    if (own.length === 0 && restored === undefined) own.paid = Math.max(own.paid, this.#clock)
    // A job that is put back keeps the time that its key had, even if the clock has passed it.
    if (flow.length === 0 && restored === undefined) flow.start = Math.max(flow.start, own.clock)
    this.#change(flow, own, () => back ? flow.insert(ticket) : flow.append(ticket))
  }

  #leave (ticket: Ticket, flow: Flow, own: PriorityClass): void {
    if (ticket.older !== undefined) ticket.older.newer = ticket.newer
    else if (this.#oldest === ticket) this.#oldest = ticket.newer
    if (ticket.newer !== undefined) ticket.newer.older = ticket.older
    else if (this.#newest === ticket) this.#newest = ticket.older
    ticket.older = ticket.newer = undefined
    this.#change(flow, own, () => flow.remove(ticket))
  }

  #append (ticket: Ticket): void {
    if (ticket.assured) return
    ticket.older = this.#newest
    if (this.#newest === undefined) this.#oldest = ticket
    else this.#newest.newer = ticket
    this.#newest = ticket
  }

  /** Changes the jobs of a flow, and keeps what depends on them: the sums, the heap and the longest flow. */
  #change (flow: Flow, own: PriorityClass, change: () => void): void {
    const { length, work, freshWork, late, head } = flow
    change()
    own.length += flow.length - length
    own.work += flow.work - work
    own.fresh += Number(!flow.late) - Number(!late)
    own.freshWork += flow.freshWork - freshWork
    this.length += flow.length - length
    this.work += flow.work - work
    this.freshWork += flow.freshWork - freshWork
    // Sums of floating point numbers drift: an empty queue is the occasion to be exact again.
    if (this.length === 0) {
      this.work = this.freshWork = 0
      for (const each of this.#classes) each.work = each.freshWork = 0
    }
    if (flow.length !== length) this.#longest.moved(flow, length)
    if (flow.length === 0) {
      flow.demoted = false
      own.heap.remove(flow)
    } else if (length === 0 || flow.head !== head) {
      if (!flow.late) flow.demoted = false
      flow.turn = ++this.#turns
      flow.finish = flow.start + this.#cost(flow.head!)
      if (length === 0) own.heap.add(flow)
      else own.heap.moved(flow)
    }
  }

  /** Invariant: `start` is what the key has been charged; `finish` is that and the cost of its next job. */
  #charge (flow: Flow, own: PriorityClass, ms: number): void {
    own.paid += ms / own.weight
    flow.start += ms
    if (flow.heapIndex === -1) return
    flow.finish += ms
    own.heap.moved(flow)
  }

  /** Keeps no state of a key without jobs. */
  #forget (flow: Flow, own: PriorityClass): void {
    if (flow.length === 0 && flow.running === 0) own.flows.delete(flow.key)
  }

  #cost (ticket: Ticket): number {
    return this.#estimates.known(ticket.job) ? Math.max(LEAST_COST, this.#estimates.mean(ticket.job)) : QUANTUM
  }
}
