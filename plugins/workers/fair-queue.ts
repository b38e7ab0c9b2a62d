/**
 * The order in which waiting jobs get threads: fair to keys by thread time, weighted by priority, first in first out within both.
 *
 * Self-clocked fair queueing (Golestani 1994), with costs that are estimated when a job is taken and settled when it has run.
 * Each key has an account in virtual time; the key whose first job would end earliest is next; the virtual clock is
 * the end of the job last taken. A key that begins to wait starts at the clock: it can't save up a claim by being idle.
 * Deficit round-robin was rejected: with costs known only afterwards one long run leaves a debt of thousands of rounds,
 * and a round in which a key spends a large quantum at once makes the others wait for all of it.
 */
import type { Estimates } from './estimates.ts'
import { Flow } from './flow.ts'
import { FlowHeap } from './flow-heap.ts'
import { Longest } from './longest.ts'
import { priorities, type Ticket } from './ticket.ts'

/** Thread time that a class gets for each ms that the lowest gets, while both have jobs waiting: by `rank`. */
const weights: readonly number[] = priorities.map((priority) => ({ high: 8, normal: 4, low: 1 })[priority])

/** What a job without an estimate is charged, in ms. */
const QUANTUM = 10
/** No job is free: else a key whose runs measure 0 ms would be served without end. */
const LEAST_COST = 0.01
/**
 * A key that begins to wait is put ahead of the clock by this share of its first job: it passes those that wait all the time, whose share that isn't.
 * It is granted once: a key that left is remembered until the clock has passed what it was granted.
 */
const CREDIT = 0.5
/** Keys without a job that are remembered: a bound on memory that a flood of keys can't pass. */
const MAX_DEBTORS = 1_000

class PriorityClass {
  readonly weight: number
  readonly heap = new FlowHeap()
  readonly flows = new Map<string, Flow>()
  /** Keys without a job that would gain by being forgotten, the longest there first. Their `finish` is when they wouldn't. */
  readonly debtors = new Set<Flow>()
  clock = 0
  length = 0
  work = 0
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
  #clock = 0
  #turns = 0
  length = 0
  /** The expected run time of all that wait, in ms. */
  work = 0

  constructor (estimates: Estimates) {
    this.#estimates = estimates
  }

  /** Keys with something waiting, running or owed. */
  get keys (): number {
    return this.#classes.reduce((keys, { flows }) => keys + flows.size, 0)
  }

  /** The key with the most waiting. */
  get longest (): Flow | undefined {
    return this.#longest.flow
  }

  /** What waits already of its key and class. */
  flowOf ({ rank, key }: Ticket): Flow | undefined {
    return this.#classes[rank]!.flows.get(key)
  }

  /**
   * Expected thread time, in ms, that is served before this job would be, if it came now. An upper bound in O(1): its key's jobs
   * ahead take turns with those of every other key, and none is served more than it has waiting.
   */
  workBefore ({ rank, expected }: Ticket, flow: Flow | undefined): number {
    const own = this.#classes[rank]!
    const inClass = Math.min(own.work, ((flow?.work ?? 0) + expected) * own.heap.size)
    let weight = 0
    for (const each of this.#classes) if (each.length > 0 || each === own) weight += each.weight
    return Math.min(this.work, inClass * weight / own.weight)
  }

  /** Adds a new arrival. */
  push (ticket: Ticket): void {
    this.#join(ticket, false)
  }

  /** Adds one that arrived before some that wait here: it had left this queue, or waited elsewhere. */
  insert (ticket: Ticket): void {
    this.#join(ticket, true)
  }

  /** The next to be served. */
  peek (): Ticket | undefined {
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
    return best?.heap.top!.head
  }

  /** Takes out what peek() returned, and charges it to its key. */
  shift (ticket: Ticket): void {
    const flow = ticket.flow!
    const own = this.#classes[flow.rank]!
    ticket.charged = this.#cost(ticket)
    flow.start = flow.finish
    flow.running++
    own.clock = Math.max(own.clock, flow.finish)
    own.paid += ticket.charged / own.weight
    this.#clock = Math.max(this.#clock, own.paid)
    this.#detach(ticket, flow, own)
  }

  /** Takes out a job that isn't going to be served: its key isn't charged. */
  remove (ticket: Ticket): void {
    const flow = ticket.flow!
    const own = this.#classes[flow.rank]!
    this.#detach(ticket, flow, own)
    this.#forget(flow, own, this.#cost(ticket))
  }

  /** The job has run for `run` ms: its key pays the difference. */
  settle (ticket: Ticket, run: number): void {
    const flow = ticket.flow!
    const own = this.#classes[flow.rank]!
    flow.running--
    this.#charge(flow, own, Math.max(LEAST_COST, run) - ticket.charged)
    this.#forget(flow, own, this.#cost(ticket))
  }

  /** The job never ran: its key pays nothing, and it is at the head of it again. */
  restore (ticket: Ticket): void {
    const flow = ticket.flow!
    flow.running--
    this.#charge(flow, this.#classes[flow.rank]!, -ticket.charged)
    this.#join(ticket, true, flow)
  }

  #join (ticket: Ticket, back: boolean, restored?: Flow): void {
    const own = this.#classes[ticket.rank]!
    let flow = restored ?? own.flows.get(ticket.key)
    if (flow === undefined) {
      flow = new Flow(ticket.key, ticket.rank)
      own.flows.set(ticket.key, flow)
    }
    const before = flow.length
    const head = flow.head
    if (back) flow.insert(ticket)
    else flow.append(ticket)
    if (own.length++ === 0) own.paid = restored === undefined ? Math.max(own.paid, this.#clock) : own.paid
    this.length++
    own.work += ticket.expected
    this.work += ticket.expected
    if (before === 0) {
      if (own.debtors.size > 0) own.debtors.delete(flow)
      // A job that is put back keeps the time that its key had, even if the clock has passed it.
      if (restored === undefined) flow.start = Math.max(flow.start, own.clock - CREDIT * this.#cost(ticket))
      flow.turn = ++this.#turns
      flow.finish = flow.start + this.#cost(ticket)
      own.heap.add(flow)
    } else if (flow.head !== head) {
      flow.finish = flow.start + this.#cost(ticket)
      own.heap.moved(flow)
    }
    this.#longest.moved(flow, before)
  }

  #detach (ticket: Ticket, flow: Flow, own: PriorityClass): void {
    const before = flow.length
    const head = flow.head
    flow.remove(ticket)
    own.length--
    this.length--
    own.work = own.length === 0 ? 0 : own.work - ticket.expected
    this.work = this.length === 0 ? 0 : this.work - ticket.expected
    if (flow.length === 0) own.heap.remove(flow)
    else if (head === ticket) {
      flow.turn = ++this.#turns
      flow.finish = flow.start + this.#cost(flow.head!)
      own.heap.moved(flow)
    }
    this.#longest.moved(flow, before)
  }

  /** Invariant: `start` is what the key has been charged; `finish` is that and the cost of its first job. */
  #charge (flow: Flow, own: PriorityClass, ms: number): void {
    own.paid += ms / own.weight
    flow.start += ms
    if (flow.heapIndex === -1) return
    flow.finish += ms
    own.heap.moved(flow)
  }

  /** Keeps no state of a key without jobs, unless it would gain by that. */
  #forget (flow: Flow, own: PriorityClass, cost: number): void {
    if (flow.length > 0 || flow.running > 0) return
    flow.finish = flow.start + CREDIT * cost
    if (flow.finish > own.clock) own.debtors.add(flow)
    else own.flows.delete(flow.key)
    if (own.debtors.size === own.flows.size) {
      // Nobody competes any more: debts have no creditor.
      own.flows.clear()
      own.debtors.clear()
    } else if (own.debtors.size > 0) this.#forgetDebtors(own)
  }

  /** Looks at two each time one may have been added, so that they can't grow past the bound. */
  #forgetDebtors (own: PriorityClass): void {
    let looks = 2
    for (const debtor of own.debtors) {
      if (looks-- === 0) break
      if (debtor.finish > own.clock && own.debtors.size <= MAX_DEBTORS) continue
      own.debtors.delete(debtor)
      own.flows.delete(debtor.key)
    }
  }

  #cost (ticket: Ticket): number {
    return this.#estimates.known(ticket.job) ? Math.max(LEAST_COST, this.#estimates.mean(ticket.job)) : QUANTUM
  }
}
