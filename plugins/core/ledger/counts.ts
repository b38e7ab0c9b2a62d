/**
 * The counts of an application: plain numbers, which ledgers add to, and which `stats()`, the metrics and the dashboard
 * read.
 */
import {
  jobRefusalReasons, lockRefusalReasons, loopRefusalReasons, taskRefusalReasons, zeroOf, type LockRefusalReason,
  type RefusalReason, type TaskRefusalReason
} from '../../shared/errors.ts'
import type { Outcome } from './ledger.ts'
import { Durations } from './durations.ts'

/** What has become of all work of one name. */
export class Account<Reason extends string = string> {
  completed = 0
  failed = 0
  aborted = 0
  expired = 0
  crashed = 0
  readonly refused: Record<Reason, number>
  readonly wait = new Durations()
  readonly run = new Durations()

  constructor (reasons: readonly Reason[]) {
    this.refused = zeroOf(reasons)
  }

  count ({ how, reason }: Outcome): void {
    if (how === 'refused') this.refused[reason as Reason]++
    else this[how]++
  }
}

export class TaskAccount extends Account<TaskRefusalReason> {
  /** Attempts that failed and were followed by another. */
  retried = 0
  /** Tasks that this process has accepted, whichever process runs them. */
  accepted = 0
  duplicate = 0
  leaked = 0
}

/** How many hold a permit of a bound, and how many wait for one. */
export interface BoundView {
  running: number
  waiting: number
}

export class LimitAccount extends Account<'limited'> {
  /** Undefined for a policy that limits a rate. */
  bound: (() => BoundView) | undefined

  constructor () {
    super(['limited'])
  }
}

/**
 * Accounts by name. Clients may choose names of tasks, so their number has a bound: names after it share the account
 * `other`.
 */
export class Book<Item> {
  readonly #items = new Map<string, Item>()
  readonly #create: () => Item
  readonly #limit: number

  constructor (create: () => Item, limit = Infinity) {
    this.#create = create
    this.#limit = limit
  }

  of (name: string): Item {
    let item = this.#items.get(name)
    if (item !== undefined) return item
    if (this.#items.size >= this.#limit && name !== 'other') return this.of('other')
    item = this.#create()
    this.#items.set(name, item)
    return item
  }

  all (): Iterable<Item> {
    return this.#items.values()
  }

  map<T> (each: (name: string, item: Item) => T): T[] {
    return [...this.#items].map(([name, item]) => each(name, item))
  }
}

/** The most names that clients may choose. */
const MAX_NAMES = 200

/** A job that a thread runs. */
export interface RunningJob<Name extends string = string> {
  /** Unique in the pool. */
  id: string
  /** The job's name. */
  name: Name
  /** Whose job it is, as the pool shares its threads; empty if it has no key, as jobs outside of requests. */
  key: string
  /** The time since the call of `run()`, in ms. */
  ageMs: number
  /** The time since a thread took the job, in ms. */
  runMs: number
  /**
   * The job was aborted, and its caller has its answer; the thread still runs the job, until the job notices or its
   * grace period ends.
   */
  aborted: boolean
  /** What the job has reported last with `context.progress()`. */
  progress: unknown
  /** The request in which the job was run. */
  requestId: string | undefined
}

/** A pool as the metrics and the dashboard see it, wherever it is decorated. */
export interface PoolView {
  gauges (): { maxThreads: number, threads: number, running: number, waiting: number }
  running (): RunningJob[]
  /** The jobs in the queue, in no order. */
  waiting (): Array<Pick<RunningJob, 'name' | 'key'>>
  /** The threads that jobs of the name may hold at a time, if they are bounded; otherwise Infinity. */
  concurrencyOf (name: string): number
  cancel (id: string): boolean
}

/** What a route has cost the event loop. */
export interface RouteCost {
  /** The method and the pattern of the path, such as `GET /users/:id`. */
  route: string
  /** Requests that were started. */
  count: number
  /** Loop time that they took, in ms. */
  ms: number
  /** The longest time for which one of them held the loop without a break, in ms. */
  longestMs: number
  /** How often one of them held the loop for longer than the option `slow`. */
  stalls: number
}

/** The admission of the event loop as the metrics and the dashboard see it. */
export interface LoopView {
  gauges (): { held: number, waitLimit: number }
  routes (): RouteCost[]
}

/** What became of requests at the event loop's admission. */
export class LoopCounts {
  /** Requests that started at once. */
  passed = 0
  /** Requests that were held and then started. */
  held = 0
  /** Requests whose clients left while they were held. */
  left = 0
  /** Stalls that no request is known to have caused. */
  stalls = 0
  readonly refused = zeroOf(loopRefusalReasons)
  /** How long the started ones were held. */
  readonly wait = new Durations()
  readonly view: LoopView

  constructor (view: LoopView) {
    this.view = view
  }
}

export class Counts {
  /** By the names of their decorators. */
  readonly pools = new Book(() =>
    ({ jobs: new Book(() => new Account<RefusalReason>(jobRefusalReasons)), views: new Set<PoolView>() }))

  readonly tasks = new Book(() => new TaskAccount(taskRefusalReasons), MAX_NAMES)
  /** By policy. A request that a policy grants has completed. */
  readonly limits = new Book(() => new LimitAccount())
  /** By kind. A caller that acquires a lock has completed its wait. */
  readonly locks = new Book(() => new Account<LockRefusalReason>(lockRefusalReasons))
  /** Undefined without the plugin for the event loop. */
  loop: LoopCounts | undefined
  requestsRefused = 0
  storeFailures = 0
  /** Whether the store of the limiter answers, as far as a decision has asked it. */
  isStoreUp = true

  /** The pools that are open, with the names of their decorators. */
  views (): Array<{ pool: string, view: PoolView }> {
    return this.pools.map((pool, { views }) => [...views].map((view) => ({ pool, view }))).flat()
  }
}

const counts = new WeakMap<object, Counts>()

/** Returns the counts of the application that has this server. */
export function countsOf (server: object): Counts {
  let found = counts.get(server)
  if (found === undefined) counts.set(server, found = new Counts())
  return found
}
