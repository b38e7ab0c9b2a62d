/**
 * The tree of shares. Its leaves are the queues of keys, and each group above them shares its servers between its
 * members by weight: the classes of priority, and the keys of a class. (Fair queueing calls a member a flow.)
 */
import type { Entry } from './entry.ts'
import { Heap, type HeapMember } from './heap.ts'
import { LinkedList } from './linked-list.ts'

/** Debt is server time, in ms, that waited in vain. */
export class Debt {
  amount = 0
  /** The debt has been an overload, and is one until all of it is paid. */
  isOverload = false
  /** How much of what is paid of all debts this one has been paid. */
  paid: number

  constructor (paid: number) {
    this.paid = paid
  }
}

/** What a group and a queue have in common: an account of server time, and sums over what waits below. */
export abstract class Flow implements HeapMember {
  readonly name: string
  readonly group: Group | undefined
  readonly weight: number
  /** The server time that the flow has been charged, in the group's virtual time. */
  account = 0
  /** The account as it will be when the head has been served: the flow with the least one is served next. */
  finish = 0
  /** Entries waiting. */
  length = 0
  /** Entries taken and not finished. Their measured time is still to be charged. */
  running = 0
  /** Entries that wait elsewhere for a permit of their name, and for a server after that. */
  held = 0
  /** The expected run time of the waiting entries, in ms. */
  work = 0
  /** Of a client: its work that waited in vain. */
  debt: Debt | undefined
  /** Of a client: the virtual time until which its entitlement has been compared with what waited in vain. */
  judgedUntil: number
  /** What the group has counted of this flow: it waits, it waits, runs or is held. */
  isWaiting = false
  isActive = false
  index = -1
  lastIndex = -1

  constructor (name: string, weight: number, group?: Group) {
    this.name = name
    this.weight = weight
    this.group = group
    this.judgedUntil = group?.clock ?? 0
  }

  /** The entry that is served next. */
  abstract get head (): Entry | undefined

  /** The account as it will be when all that waits has been served. */
  get end (): number {
    return this.account + this.work / this.weight
  }
}

/** A member of a class: a key, or an owner with all its keys. */
export type Client = Flow & { readonly group: Group }

export class Group extends Flow {
  readonly members = new Map<string, Flow>()
  /** The members with entries, in the order in which they are served. */
  readonly waiting = new Heap<Flow>((a, b) =>
    a.finish < b.finish || (a.finish === b.finish && (a.head?.sequence ?? 0) < (b.head?.sequence ?? 0)))

  /** The members with entries, in the opposite order: on top is the one that is served last to its end. */
  readonly last = new Heap<Flow>((a, b) => a.end > b.end, 'lastIndex')
  /**
   * The members without entries whose accounts are ahead of the clock: they would start afresh if they were forgotten.
   */
  readonly resting = new Heap<Flow>((a, b) => a.account < b.account)
  /**
   * The virtual clock: the server time that a member of weight 1 was entitled to, if it has waited or run all the time.
   */
  clock = 0
  /** The weights of the members that wait or run, and of those that wait. */
  activeWeight = 0
  waitingWeight = 0

  get head (): Entry | undefined {
    return this.waiting.top?.head
  }
}

/** KeyQueue holds the waiting entries of one key, in the order of arrival. */
export class KeyQueue extends Flow {
  declare readonly group: Group
  readonly #arrived = new LinkedList<Entry>()
  /**
   * Entries that waited elsewhere before, for a permit or for a thread that died. They keep their place in the order of
   * arrival. They are few; to find their place among the others would cost O(n).
   */
  readonly #returned = new LinkedList<Entry>()

  constructor (key: string, group: Group) {
    super(key, 1, group)
  }

  get head (): Entry | undefined {
    const arrived = this.#arrived.first
    const returned = this.#returned.first
    return returned === undefined || (arrived !== undefined && arrived.sequence < returned.sequence)
      ? arrived
      : returned
  }

  /** The entry that is served last. */
  get tail (): Entry | undefined {
    const arrived = this.#arrived.last
    const returned = this.#returned.last
    return returned === undefined || (arrived !== undefined && arrived.sequence > returned.sequence)
      ? arrived
      : returned
  }

  /** Adds an entry that arrived after all others. */
  append (entry: Entry): void {
    this.#arrived.append(entry.link)
    this.#added(entry)
  }

  /** Adds an entry that comes back, at its place in the order of arrival. */
  insert (entry: Entry): void {
    this.#returned.insert(entry.link, ({ sequence }) => sequence > entry.sequence)
    this.#added(entry)
  }

  remove (entry: Entry): void {
    entry.link.remove()
    this.length--
    this.work -= entry.expected
  }

  /** Corrects what is expected of a waiting entry. */
  expect (entry: Entry, ms: number): void {
    this.work += ms - entry.expected
    entry.expected = ms
  }

  #added (entry: Entry): void {
    this.length++
    this.work += entry.expected
  }
}
