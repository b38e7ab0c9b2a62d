/**
 * The scheduler of one run: operations park before they start, and are released one by one, in an order that the seed decides. So a seed
 * gives the same order each time, whatever the machine does.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { Random } from './random.ts'

/** An operation that waits to be started. */
export interface Parked {
  /** `request req-1 GET /: fs.readFile`. */
  readonly name: string
  /** Whose operation it is. */
  readonly party: object
  /** How long a timer would wait, in ms; 0 for others. */
  readonly delay: number
  readonly isInterval: boolean
  /**
   * Starts the operation. The promise settles when it has ended.
   *
   * @param within calls the function that the operation consists of: what that parks is a part of the operation
   */
  start (within: <T>(fn: () => T) => T): Promise<unknown> | undefined
}

/** Timers up to this many ms stand for an operation of some other system, so they may fire in any order. Longer ones are deadlines. */
const SHORT = 100

/** How many operations one run may take. */
const MOST_STEPS = 10_000

/** How long one run may take, in ms. */
const MOST_MS = 10_000

/** How long a run may wait for operations that aren't patched, crypto's or a driver's, before it is taken for stuck, in ms. */
const MOST_IDLE_MS = 2_000

/** An operation that was started. It may park others: a method of a database client that reads a file. */
interface Flight {
  /** How many operations it has parked that wait to be started. It goes on only after they were. */
  parked: number
}

const flights = new AsyncLocalStorage<Flight>()

const realImmediate = globalThis.setImmediate

async function turns (count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => realImmediate(resolve))
}

export class Scheduler {
  /** The operations in the order of their start. */
  readonly order: string[] = []
  readonly #parked: Parked[] = []
  readonly #random: Random
  /** Half of the seeds prefer some parties over others: that finds orders in which one party runs far ahead. */
  readonly #priorities: Map<object, number> | undefined
  readonly #inFlight = new Set<Flight>()
  #now = 0
  readonly #due = new WeakMap<Parked, number>()
  readonly #flightOf = new WeakMap<Parked, Flight>()

  constructor (seed: number) {
    this.#random = new Random(seed)
    if (seed % 2 === 1) this.#priorities = new Map()
  }

  /** Returns true, when the operation has parked. */
  park (operation: Parked): true {
    this.#due.set(operation, this.#now + operation.delay)
    this.#parked.push(operation)
    const flight = flights.getStore()
    if (flight !== undefined) {
      flight.parked++
      this.#flightOf.set(operation, flight)
    }
    return true
  }

  /** Takes an operation back that is no longer wanted: a timer that was cleared. */
  cancel (operation: Parked): void {
    const index = this.#parked.indexOf(operation)
    if (index === -1) return
    this.#parked.splice(index, 1)
    const flight = this.#flightOf.get(operation)
    if (flight !== undefined) flight.parked--
  }

  /** What has not been started. */
  get left (): string[] {
    return this.#parked.map(({ name }) => name)
  }

  /**
   * Releases operations until `isDone` and nothing is left but intervals.
   *
   * @returns why the run was ended before; undefined if it wasn't
   */
  async run (isDone: () => boolean): Promise<string | undefined> {
    const end = performance.now() + MOST_MS
    let idleSince = performance.now()
    for (let steps = 0; ;) {
      await turns(2)
      if (performance.now() > end) return `it did not fall quiet within ${MOST_MS} ms`
      if (this.#isBusy) {
        idleSince = performance.now()
        continue
      }
      const next = this.#pick(isDone())
      if (next === undefined) {
        if (isDone()) return undefined
        if (performance.now() - idleSince > MOST_IDLE_MS) return 'a request does not end, and nothing that it could wait for is under way'
        continue
      }
      idleSince = performance.now()
      if (++steps > MOST_STEPS) return `it did not fall quiet within ${MOST_STEPS} operations`
      this.#release(next)
    }
  }

  /** Whether an operation is under way that waits for something else than the scheduler. */
  get #isBusy (): boolean {
    return [...this.#inFlight].some(({ parked }) => parked === 0)
  }

  #pick (isDone: boolean): Parked | undefined {
    const once = this.#parked.filter(({ isInterval }) => !isInterval)
    const short = once.filter(({ delay }) => delay <= SHORT)
    if (short.length > 0) return this.#priorities === undefined ? short[this.#random.below(short.length)] : this.#preferred(short, this.#priorities)
    // An interval goes on for ever: it fires only for a request that waits for it.
    const rest = once.length > 0 || isDone ? once : this.#parked
    return rest.toSorted((a, b) => (this.#due.get(a) ?? 0) - (this.#due.get(b) ?? 0))[0]
  }

  /** One of the party with the highest priority, which may lose it with each step. */
  #preferred (parked: readonly Parked[], priorities: Map<object, number>): Parked | undefined {
    for (const { party } of parked) if (!priorities.has(party)) priorities.set(party, this.#random.next())
    const first = parked.reduce((best, each) => (priorities.get(each.party) ?? 0) > (priorities.get(best.party) ?? 0) ? each : best)
    if (this.#random.next() < 0.2) priorities.set(first.party, this.#random.next() - 1)
    return first
  }

  #release (operation: Parked): void {
    this.cancel(operation)
    this.#now = Math.max(this.#now, this.#due.get(operation) ?? 0)
    this.order.push(operation.name)
    const flight: Flight = { parked: 0 }
    const ended = operation.start((fn) => flights.run(flight, fn))
    if (ended === undefined) return
    this.#inFlight.add(flight)
    const settled = (): void => { this.#inFlight.delete(flight) }
    ended.then(settled, settled)
  }
}
