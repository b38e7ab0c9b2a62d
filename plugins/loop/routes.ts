/** What each route costs the event loop. */
import type { RouteCost } from '../core/ledger/counts.ts'
import { Estimate, Estimates } from '../core/line/estimates.ts'

/**
 * A sample counts for at most this many times of what is known, and MAX_EXCESS_MS ms: a collection of garbage isn't
 * the route's.
 */
const MAX_FACTOR = 5
const MAX_EXCESS_MS = 5
/**
 * The first sample counts for at most this, in ms: a first request may load modules and compile code. Otherwise a burst
 * on a process that has just started would be refused.
 */
const MAX_FIRST_MS = 25

export class Route {
  readonly index: number
  /** The method and the pattern of the path, such as `GET /users/:id`. */
  readonly name: string
  readonly #estimate: Estimate
  readonly #atOnce = new Estimate()
  /** Requests that were started. */
  count = 0
  /** When the first one was started. */
  startedAt = Infinity
  /** Loop time that they took, in ms. */
  total = 0
  /** The longest time for which one of them held the loop without a break, in ms. */
  longest = 0
  /** How often one of them held the loop for longer than `slow`. */
  stalls = 0

  constructor (index: number, name: string, estimate: Estimate) {
    this.index = index
    this.name = name
    this.#estimate = estimate
  }

  /** Whether a request of this route has ever been measured. */
  get known (): boolean {
    return this.#estimate.known
  }

  /** The mean cost, in ms; 0 if no request has been measured. */
  get cost (): number {
    return this.#estimate.mean
  }

  /** The part of the cost that falls into the turn of the start, in ms. What follows a wait for a database doesn't. */
  get atOnce (): number {
    return this.#atOnce.mean
  }

  /** Takes in what a request cost in all, and what of it fell into the turn of its start. */
  sample (ms: number, atOnce: number, now: number): void {
    const most = (mean: number): number => this.known ? MAX_FACTOR * mean + MAX_EXCESS_MS : MAX_FIRST_MS
    this.#atOnce.sample(Math.min(atOnce, most(this.atOnce)), now)
    this.#estimate.sample(Math.min(ms, most(this.cost)), now)
  }
}

export class Routes {
  readonly estimates = new Estimates()
  readonly all: Route[] = []

  /** What the routes cost, the most expensive one first. Not-found handlers are one route. */
  costs (): RouteCost[] {
    const byName = new Map<string, RouteCost>()
    for (const { name, count, total, longest, stalls } of this.all) {
      if (count === 0) continue
      const cost = byName.get(name) ?? { route: name, count: 0, ms: 0, longestMs: 0, stalls: 0 }
      byName.set(name, cost)
      cost.count += count
      cost.ms += total
      cost.longestMs = Math.max(cost.longestMs, longest)
      cost.stalls += stalls
    }
    return [...byName.values()].sort((a, b) => b.ms - a.ms)
  }

  add (name: string): Route {
    const index = this.all.length
    const route = new Route(index, name, this.estimates.of(index))
    this.all.push(route)
    return route
  }
}
