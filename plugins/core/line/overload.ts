/**
 * Overload decides from evidence whether a line is overloaded, or a key of it, and learns how long entries may wait
 * then.
 *
 * Waiting alone is no evidence: patient clients may wait for a long round. Evidence is work that waited and was then
 * left, or refused. It is a debt of its key, and at most the server time that the key was entitled to meanwhile, so a
 * flood of one key is worth no more than the key's share: one key can neither declare nor hide an overload of the
 * others. Servers that idle pay all debts. Work that is served in time pays a part of its key's, so that the few
 * clients who leave at any load never add up to an overload; and work of keys that could wait pays a part of all, so
 * that a key is not refused for ever beside others that keep the servers busy.
 */
import type { Entry } from './entry.ts'
import { Debt, type Client } from './flow.ts'

export interface WaitSettings {
  /** How long any entry may wait, in ms. */
  maxWait: number
  /** How long entries keep the order of their arrival, in ms. */
  orderWait: number
  /** The least wait limit in an overload, in ms. */
  targetWait: number
  /**
   * Reads how long the servers have been idle since some instant, in ms. Without this function, a server is idle while
   * no entry occupies it. The event loop is busy with much that never was in its line.
   */
  idle?: () => number
}

/**
 * Debt above this share of `orderWait` of server time is an overload. Half of it saw a sudden overload too late, an
 * eighth saw one in chance.
 */
const OVERLOAD = 1 / 4
/**
 * A debt is at most this many times `orderWait` of server time, so that an overload is over when the servers have been
 * idle for as long. With 4, a burst of long jobs 4 s after an overload was refused.
 */
const DEBT_LIMIT = 2
/**
 * The part of work served in time that pays debts. With 0, patient clients beside a few who leave were refused; with
 * 1, steady overloads were not seen, and with 1/4 an event loop at 1.2 times what it can do spent 0.17 of its time on
 * clients that had left, as it isn't told of those that leave during a handler. With 1/16, three heavy keys made light
 * ones lose 1.1 %, and twenty that take turns 25 %.
 */
const PAID = 1 / 8
/**
 * The limit becomes shorter by this much for each ms of work that waited in vain. Idle time makes it longer again.
 * Together they find the shortest queue that keeps the servers busy. With 0, twenty keys at 6 times what the servers
 * can do waited 540 ms (p99) for jobs of 10 ms in place of 110 ms.
 */
const SHORTER = 0.1
/** The factor that a departure applies to the limit, if the whole cost of the entry is evidence. */
const LEFT = 0.7
/**
 * So many keys that have gone keep their debts; those of older ones become the debt of all. Many keys that each ask
 * once are an overload too.
 */
const DEBTORS = 16

export class Overload {
  readonly #settings: WaitSettings
  readonly #servers: number
  readonly #speed: () => number
  /** The debt of keys that have gone. */
  readonly #common = new Debt(0)
  /** The debts of the keys that went last. */
  readonly #debtors = new Map<string, Debt>()
  /** The wait limit of an overload, in ms. */
  #limit: number
  /** What has been paid of all debts, in ms of server time. */
  #paid = 0

  /**
   * @param servers entries of the line that can run at a time
   * @param speed reads the part of their time that servers work, while they are kept
   */
  constructor (settings: WaitSettings, servers: number, speed: () => number) {
    this.#settings = settings
    this.#servers = servers
    this.#speed = speed
    this.#limit = settings.orderWait
  }

  /** How long an entry keeps its place in the order of arrival, in ms: between `targetWait` and `orderWait`. */
  get limit (): number {
    return this.#limit
  }

  /** Records that servers have been idle, for `ms` of server time. */
  recordIdle (ms: number): void {
    this.#paid += ms
    this.#learn(this.#limit + ms)
  }

  /** Reports whether an arrival of this key takes part in an overload: of its own key, or of all. */
  covers (client: Client | undefined, name: string): boolean {
    const debt = client?.debt ?? this.#debtors.get(name)
    return this.#isOverload(this.#common) || (debt !== undefined && this.#isOverload(debt))
  }

  /**
   * Records that an entry of a key has waited for `wait` ms in vain.
   *
   * @param cost the run time that was expected of it, in ms
   * @param activeClients those that wait or run: the debt that is an overload is shared between them
   * @param hasLeft its client has left it; otherwise it was refused
   */
  recordWaste (client: Client, wait: number, cost: number, activeClients: number, hasLeft: boolean): void {
    // The limit is never shorter than targetWait, so a wait below targetWait can't be blamed on the limit.
    if (wait < this.#settings.targetWait || cost <= 0) return
    const { clock } = client.group
    const waste = Math.min(cost, clock - client.judgedUntil)
    if (waste <= 0) return
    client.judgedUntil += waste
    client.debt ??= this.#debtOf(client)
    this.#add(client.debt, waste, activeClients)
    const kept = hasLeft ? this.#limit * (1 - (1 - LEFT) * waste / cost) : this.#limit
    this.#learn(kept - SHORTER * waste / this.#speed())
  }

  /**
   * Records that work was served in time, for `run` ms, after it had waited for `wait` ms. That keys which come again
   * could wait is evidence against an overload of the others too, by their share.
   */
  recordServed (entry: Entry, client: Client | undefined, run: number, wait: number, activeClients: number): void {
    const paid = PAID * run
    const debt = client?.debt ?? this.#debtors.get(entry.clientKey)
    this.#pay(this.#common, paid)
    this.#pay(debt, paid)
    if (entry.isStranger || wait < this.#settings.targetWait || debt?.isOverload === true) return
    const share = paid / Math.max(1, activeClients)
    this.#paid += share
    // Its own debt has been paid.
    if (debt !== undefined) debt.paid += share
  }

  /** Keeps the debt of a key of which nothing else is remembered. */
  forget ({ name, debt }: Client): void {
    if (debt === undefined || this.#settle(debt) === 0) return
    this.#debtors.set(name, debt)
    const [first] = this.#debtors
    if (first === undefined || this.#debtors.size <= DEBTORS) return
    this.#debtors.delete(first[0])
    this.#add(this.#common, this.#settle(first[1]), 1)
  }

  #debtOf ({ name }: Client): Debt {
    const debt = this.#debtors.get(name) ?? new Debt(this.#paid)
    this.#debtors.delete(name)
    return debt
  }

  #pay (debt: Debt | undefined, ms: number): void {
    if (debt !== undefined && !this.#isOverload(debt)) debt.amount = Math.max(0, debt.amount - ms)
  }

  #add (debt: Debt, ms: number, keys: number): void {
    const share = this.#settings.orderWait * this.#servers * this.#speed() / Math.max(1, keys)
    debt.amount = Math.min(DEBT_LIMIT * share, this.#settle(debt) + ms)
    if (debt.amount > OVERLOAD * share) debt.isOverload = true
  }

  #isOverload (debt: Debt): boolean {
    this.#settle(debt)
    return debt.isOverload
  }

  /** Pays with what has been paid of all debts since, and returns what is left. */
  #settle (debt: Debt): number {
    debt.amount = Math.max(0, debt.amount - (this.#paid - debt.paid))
    debt.paid = this.#paid
    if (debt.amount === 0) debt.isOverload = false
    return debt.amount
  }

  #learn (limit: number): void {
    const { targetWait, orderWait } = this.#settings
    this.#limit = Math.min(orderWait, Math.max(targetWait, limit))
  }
}
