/**
 * FairQueue is the order in which waiting work gets servers: fair to keys by measured server time, weighted by
 * priority.
 *
 * This is fair queueing with costs that are estimated when an entry is taken and settled when it has run. Each flow (a
 * class of priority, a key) has an account. The flow whose account would be least after its next entry is served next.
 * The virtual clock of a group advances by the work taken ÷ the weights of the members that wait or run: what a member
 * of weight 1 is entitled to. A flow that begins to wait starts at the clock, or at its account if that is ahead, so it
 * neither saves up a claim by being idle nor starts afresh by being empty for a moment.
 *
 * Rejected: deficit round-robin, since a cost known only afterwards leaves a debt of thousands of rounds. The end of
 * the last entry as the clock (Golestani 1994), since a newcomer would start a whole round behind. Its start, since the
 * clock would stand still while every key is new.
 */
import { LEAST_COST_MS, priorities, type Entry } from './entry.ts'
import type { Client, Flow } from './flow.ts'
import { Group, KeyQueue } from './flow.ts'
import { LinkedList } from './linked-list.ts'

/** The server time that each class gets for each ms that the lowest gets, while both have entries waiting. */
const WEIGHTS = { high: 8, normal: 4, low: 1 } as const

export class FairQueue<T extends Entry = Entry> {
  readonly #root = new Group('', 1)
  readonly #classes: readonly Group[]
  readonly #byAge = new LinkedList<Entry>()
  #activeClients = 0
  readonly #onForgotten: (client: Client) => void

  /** @param onForgotten is called when nothing of a client is remembered any more */
  constructor (onForgotten: (client: Client) => void = () => {}) {
    this.#onForgotten = onForgotten
    this.#classes = priorities.map((priority) => new Group(priority, WEIGHTS[priority], this.#root))
    for (const group of this.#classes) this.#root.members.set(group.name, group)
  }

  /** Entries waiting. */
  get length (): number {
    return this.#root.length
  }

  /** The expected run time of all that wait, in ms. */
  get work (): number {
    return this.#root.work
  }

  /** Keys of which something is remembered. */
  get keys (): number {
    return this.#classes.reduce((keys, { members }) => keys + members.size, 0)
  }

  /** The key whose last entry is served last of all, and the server time that is served until then, in ms. */
  get last (): { queue: KeyQueue, until: number } | undefined {
    let last: { queue: KeyQueue, until: number } | undefined
    for (const group of this.#classes) {
      let flow: Flow | undefined = group
      while (flow instanceof Group) flow = flow.last.top
      const queue = flow as KeyQueue | undefined
      const until = queue === undefined ? 0 : this.#until(queue.group, queue.end)
      if (queue !== undefined && until > (last?.until ?? -Infinity)) last = { queue, until }
    }
    return last
  }

  /** Returns the server time, in ms, that is served until an arriving entry has been served, if nobody else came. */
  until (entry: Entry): number {
    const group = this.#ownerOf(entry) ?? this.#classOf(entry.priority)
    const queue = this.find(entry)
    return this.#until(group, startOf(queue, group) + (queue?.work ?? 0) + entry.expected)
  }

  /** Returns the server time that is served until a member of the group has an account of `end`. */
  #until (group: Group, end: number): number {
    const { clock, activeWeight, weight, group: above } = group
    const ms = (end - clock) * Math.max(1, activeWeight)
    if (above === undefined || above === this.#root) return ms * this.#root.activeWeight / weight
    return this.#until(above, startOf(group, above) + ms)
  }

  /** The entry that has waited here longest, of those that were not promised a server. */
  get oldest (): T | undefined {
    return this.#byAge.first as T | undefined
  }

  /** The key that is served next. */
  get next (): KeyQueue | undefined {
    let flow: Flow | undefined = this.#root
    while (flow instanceof Group) flow = flow.waiting.top
    return flow as KeyQueue | undefined
  }

  /** Returns the queue of the entry's key and priority, if there is one. */
  find (entry: Entry): KeyQueue | undefined {
    const group = entry.owner === undefined ? this.#classOf(entry.priority) : this.#ownerOf(entry)
    return group?.members.get(entry.key) as KeyQueue | undefined
  }

  /** Returns the client of the entry, if something waits or is remembered of it in the entry's class. */
  client ({ priority, clientKey }: Entry): Client | undefined {
    return this.#classOf(priority).members.get(clientKey) as Client | undefined
  }

  /**
   * Returns an upper bound, in ms of server time, on what is served before an arriving entry: its key takes turns with
   * every other key, and no key is served more than it has waiting.
   */
  workBefore (entry: Entry): number {
    let flow: Flow | undefined = this.find(entry)
    let bound = (flow?.work ?? 0) + entry.expected
    let group: Group | undefined = this.#ownerOf(entry) ?? this.#classOf(entry.priority)
    for (; group !== undefined; flow = group, group = group.group) {
      const weight = flow?.weight ?? 1
      bound = Math.min(bound * (group.waitingWeight + (flow?.isWaiting === true ? 0 : weight)) / weight, group.work)
    }
    return bound
  }

  /**
   * Reports whether more than `ms` of server time is served before an arriving entry: what waits of its key, and of
   * each other key what comes before that in fair order. Costs O(keys that are served in `ms`).
   */
  isBehind (ms: number, entry: Entry): boolean {
    let flow: Flow | undefined = this.find(entry)
    let before = flow?.work ?? 0
    let group: Group | undefined = this.#ownerOf(entry) ?? this.#classOf(entry.priority)
    for (; group !== undefined; flow = group, group = group.group) {
      const own = flow
      const end = startOf(own, group) + (before + entry.expected) / (own?.weight ?? 1)
      group.waiting.visit((other) => {
        if (before > ms || other.finish > end) return false
        if (other !== own) before += Math.min(other.work, (end - other.account) * other.weight)
        return true
      })
    }
    return before > ms
  }

  /** Clients that wait or run, over all classes. */
  get activeClients (): number {
    return this.#activeClients
  }

  /** Adds a new arrival. */
  push (entry: Entry): void {
    const queue = this.#join(entry)
    entry.queue = queue
    queue.append(entry)
    this.#added(queue, entry)
  }

  /**
   * Lets the key of an entry that waits for a permit of its name take part: otherwise all keys of the name would have
   * one share, and each entry would wait for a round of the others once it has its permit.
   */
  hold (entry: Entry): void {
    this.#update(this.#join(entry), 0, 0, 0, 1)
  }

  /** Adds an entry that was held, at its place in the order of arrival. */
  insert (entry: Entry): void {
    const queue = this.#join(entry)
    entry.queue = queue
    queue.insert(entry)
    this.#added(queue, entry, -1)
  }

  /** Takes out an entry that was held and isn't going to be served. */
  drop (entry: Entry): void {
    const queue = this.find(entry)
    if (queue === undefined) return
    this.#update(queue, 0, 0, 0, -1)
    this.#rest(queue)
  }

  /** Counts an entry that runs, and that was never in the queue. */
  count (entry: Entry): void {
    const queue = this.#join(entry)
    entry.queue = queue
    // Active first, so that the clock advances by its share.
    this.#update(queue, 0, 0, 1)
    this.#charge(queue, entry.expected)
    this.#update(queue, 0, 0, 0)
  }

  /** Corrects what is expected of a waiting entry. */
  expect (entry: Entry, ms: number): void {
    const queue = queueOf(entry)
    const change = ms - entry.expected
    queue.expect(entry, ms)
    this.#update(queue, 0, change, 0)
  }

  /** Takes out an entry that is served now, and charges its key with what the run is expected to take. */
  take (entry: Entry): void {
    const queue = queueOf(entry)
    this.#charge(queue, entry.expected)
    this.#leave(queue, entry, 1)
    this.#forgetAbove(queue)
  }

  /** Takes out an entry that isn't going to be served. Its key pays nothing. */
  remove (entry: Entry): void {
    const queue = queueOf(entry)
    entry.queue = undefined
    this.#leave(queue, entry, 0)
    this.#rest(queue)
  }

  /**
   * Settles the account of a taken entry that has run for `run` ms: its key pays the difference to what it was charged.
   */
  settle (entry: Entry, run: number): void {
    const queue = queueOf(entry)
    entry.queue = undefined
    this.#charge(queue, Math.max(LEAST_COST_MS, run) - entry.expected)
    this.#update(queue, 0, 0, -1)
    this.#forgetAbove(queue)
    this.#rest(queue)
  }

  /** Charges a key, if it is remembered, with `ms` of server time that its entry took after it had been settled. */
  charge (entry: Entry, ms: number): void {
    const queue = this.find(entry)
    if (queue === undefined) return
    this.#charge(queue, ms)
    this.#update(queue, 0, 0, 0)
    this.#forgetAbove(queue)
  }

  /** Puts a taken entry that never started back to the head of its key. */
  restore (entry: Entry): void {
    const queue = queueOf(entry)
    this.#charge(queue, -entry.expected)
    queue.insert(entry)
    this.#update(queue, 1, entry.expected, -1)
    this.#forgetAbove(queue)
  }

  #classOf (priority: string): Group {
    return this.#root.members.get(priority) as Group
  }

  #ownerOf ({ priority, owner }: Entry): Group | undefined {
    return owner === undefined ? undefined : this.#classOf(priority).members.get(owner) as Group | undefined
  }

  /**
   * Returns the queue of an entry that begins to wait. Flows that had nothing waiting move up to the clock, or nearly:
   * what was held has waited for its turn, and is served next. More than its own cost would be a claim saved up.
   */
  #join (entry: Entry): KeyQueue {
    let group = this.#classOf(entry.priority)
    if (entry.owner !== undefined) {
      let owner = this.#ownerOf(entry)
      if (owner === undefined) group.members.set(entry.owner, owner = new Group(entry.owner, 1, group))
      group = owner
    }
    let queue = group.members.get(entry.key) as KeyQueue | undefined
    if (queue === undefined) group.members.set(entry.key, queue = new KeyQueue(entry.key, group))
    for (let flow: Flow = queue; flow.group !== undefined && flow.length === 0; flow = flow.group) {
      if (flow.index !== -1) flow.group.resting.remove(flow)
      const claim = flow.held === 0 ? 0 : entry.expected / flow.weight
      flow.account = Math.max(flow.account, flow.group.clock - claim)
    }
    return queue
  }

  #added (queue: KeyQueue, entry: Entry, held = 0): void {
    this.#update(queue, 1, entry.expected, 0, held)
    if (!entry.assured) this.#byAge.append(entry.ageLink)
  }

  #leave (queue: KeyQueue, entry: Entry, running: number): void {
    if (!entry.assured) entry.ageLink.remove()
    queue.remove(entry)
    this.#update(queue, -1, -entry.expected, running)
  }

  /**
   * Brings the groups above a queue up to date, after entries have joined it or left it and after a charge.
   *
   * @param entries by how much the number of waiting entries has changed
   * @param work by how much their expected run time has changed
   * @param running by how much the number of taken entries changes
   * @param held by how much the number of held entries changes
   */
  #update (queue: KeyQueue, entries: number, work: number, running: number, held = 0): void {
    for (let flow: Flow = queue, { group } = flow; group !== undefined; flow = group, group = flow.group) {
      flow.running += running
      flow.held += held
      group.length += entries
      group.work += work
      const { head, weight } = flow
      const isWaiting = head !== undefined
      const isActive = isWaiting || flow.running > 0 || flow.held > 0
      if (isActive !== flow.isActive) {
        group.activeWeight += isActive ? weight : -weight
        if (group.group === this.#root) this.#activeClients += isActive ? 1 : -1
      }
      flow.isActive = isActive
      if (isWaiting) flow.finish = flow.account + head.expected / weight
      if (isWaiting === flow.isWaiting) {
        if (isWaiting) {
          group.waiting.moved(flow)
          group.last.moved(flow)
        } else if (flow.index !== -1) group.resting.moved(flow)
        continue
      }
      flow.isWaiting = isWaiting
      group.waitingWeight += isWaiting ? weight : -weight
      if (isWaiting) {
        group.waiting.add(flow)
        group.last.add(flow)
      } else {
        group.waiting.remove(flow)
        group.last.remove(flow)
      }
    }
  }

  /** Charges a key, and advances the clocks. An update follows, which brings the order in line with the accounts. */
  #charge (queue: KeyQueue, ms: number): void {
    for (let flow: Flow = queue, { group } = flow; group !== undefined; flow = group, group = flow.group) {
      group.clock += ms / Math.max(1, group.activeWeight)
      flow.account += ms / flow.weight
    }
  }

  #forgetAbove (queue: KeyQueue): void {
    for (let group: Group | undefined = queue.group; group !== undefined; group = group.group) this.#forget(group)
  }

  /** Keeps of a key without entries no more than an account that is ahead of the clock. The classes stay. */
  #rest (queue: KeyQueue): void {
    for (let flow: Flow = queue; flow.group !== undefined && flow.group !== this.#root &&
      !flow.isActive; flow = flow.group) {
      flow.group.resting.add(flow)
      this.#forget(flow.group)
    }
  }

  /**
   * Forgets the keys that would start at the clock anyway; all of them once nothing of the class waits or runs, since
   * all were served what they asked.
   */
  #forget (group: Group): void {
    for (let { top } = group.resting; top !== undefined; { top } = group.resting) {
      if (group.activeWeight > 0 && top.account > group.clock) return
      group.resting.remove(top)
      group.members.delete(top.name)
      if (group.group === this.#root) this.#onForgotten(top as Client)
    }
  }
}

/** The account with which a flow begins to wait. */
function startOf (flow: Flow | undefined, { clock }: Group): number {
  return flow?.isWaiting === true ? flow.account : Math.max(flow?.account ?? 0, clock)
}

/** The queue that counts an entry. */
function queueOf ({ queue }: Entry): KeyQueue {
  return queue as KeyQueue
}
