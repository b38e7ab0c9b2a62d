/**
 * Gate decides which requests start on the event loop, when, and which are refused. It is pure: the clocks are
 * arguments, and hooks.ts has the timers.
 *
 * The rule:
 * 1. A request starts at once if nothing is held, the pace allows it, and the loop has just caught up. Two requests
 *    that hold the loop for long, or of a route that was never measured, don't share a turn. All others are held.
 * 2. While requests are held, the loop is turned until a turn brings nothing new, so that probes and connections come
 *    through. Then one request starts, or several that are cheap.
 * 3. Work starts at the rate at which the loop can do it, also work that follows a wait for a database (pace.ts).
 * 4. Who is next, and who is refused, is decided by the line that the pool has too (core/line/): fair to keys, and to
 *    the routes of a key, by loop time.
 */
import { compact, Entry, LEAST_COST_MS } from '../core/line/entry.ts'
import { Line, type Bound } from '../core/line/line.ts'
import type { LoopRefusalReason } from '../shared/errors.ts'
import { LoopTime } from './loop-time.ts'
import { Pace } from './pace.ts'
import { RetryAfter } from './retry-after.ts'
import { Routes, type Route } from './routes.ts'

/**
 * Work that starts in one turn, in ms. A request that is expected to take longer is heavy. With 20, the probes wait
 * for 5 s at twice the load of cheap requests.
 */
const QUANTUM_MS = 5
/**
 * How long the loop is turned for what arrives before the next request starts, in ms. With 1, connections wait for
 * seconds behind a flood of cheap requests. Without a bound, refusing would leave no time to serve.
 */
const MAX_DRAIN_MS = 10
/**
 * After MAX_DRAIN_MS, the loop is still turned for connections, up to this many turns in all. Node accepts one
 * connection in a turn, and on a machine whose CPUs are taken by others, a single turn can last for MAX_DRAIN_MS:
 * probes would be accepted one for each request that starts.
 */
const ACCEPT_TURNS = 10
/**
 * The share of its work that a request is charged on top, for the part that follows a wait for a database. Such work
 * comes back in the same turns in which connections are accepted, one in each. If it filled all of them, connections
 * would be accepted no faster than work comes back, and those that bring a request each would wait for a second: at
 * twice the load of requests of 2 ms, 0.29 of the loop's time would be useful in place of 0.71. With 0.1, 4 % less is
 * useful at twice the load of 10 ms.
 */
const SPARE = 0.05
/**
 * A route whose requests are not answered for so long, in ms, counts with what they have cost until then: streams, web
 * sockets and long polls. Otherwise a crowd of them would be paced for ever as if each held the loop.
 */
const UNANSWERED_MS = 500

export interface GateSettings {
  maxHeld: number
  maxWait: number
  orderWait: number
  targetWait: number
}

/** Why a request was refused, with the numbers behind it. */
export interface LoopRefusal {
  reason: LoopRefusalReason
  /** Requests held at the time. */
  held: number
  /** How long the request would have waited, or did wait, in ms. */
  estimatedWait: number
  /** The bound that it met: a count for `count`, ms otherwise. */
  limit: number
  /** When to come back, in whole seconds. */
  retryAfter: number
}

/** A request that was started, and what it has cost the loop so far. */
export class Started {
  readonly route: Route
  /** Loop time that it took so far, in ms. */
  ms = 0
  /** What the pace was charged for it, in ms. */
  charged = 0
  /** What of it fell into the turn of the start. */
  atOnce = 0
  /** The turn of the start. */
  turn = 0
  /** The code that was started has not returned yet. */
  isRunning = false
  /** The request is being answered. */
  isSent = false
  /** All that the request cost is known. */
  isSettled = false
  /** The place that the request had in the line, if it was held. */
  readonly entry: HeldEntry | undefined

  constructor (route: Route, entry?: HeldEntry) {
    this.route = route
    this.entry = entry
  }
}

/** A request that is held. */
export class HeldEntry extends Entry {
  readonly route: Route

  constructor (route: Route, client: string, priority: Entry['priority']) {
    const owner = compact(client)
    super(route.index, `${owner} ${route.index}`, priority, Infinity, owner)
    this.route = route
  }
}

export class Gate<T extends HeldEntry> {
  readonly routes = new Routes()
  readonly time: LoopTime
  readonly #line: Line<T>
  readonly #pace = new Pace()
  readonly #retryAfter = new RetryAfter()
  readonly #maxHeld: number
  readonly #onRefused: (entry: T, refusal: LoopRefusal) => void
  #sequence = 0
  /** Whether this turn of the loop has brought a request or a connection. */
  #hasNews = false
  /** Whether it has brought a connection. */
  #hasAccepted = false
  /** Turns since the loop is turned for what arrives. */
  #drainTurns = 0
  #drainsSince = 0
  /** Work that was started in this turn, in ms. */
  #begun = 0

  /** @param onRefused receives the held requests that are refused after all; by then they are out */
  constructor (settings: GateSettings, now: number, idle: number, onRefused: (entry: T, refusal: LoopRefusal) => void) {
    this.time = new LoopTime(now, idle)
    this.#maxHeld = settings.maxHeld
    this.#onRefused = onRefused
    const waits = { ...settings, idle: () => this.time.idle }
    this.#line = new Line<T>(waits, 1, Infinity, this.routes.estimates, (...unfit) => this.#refuse(...unfit))
  }

  /** Requests that are held. */
  get held (): number {
    return this.#line.queue.length
  }

  /** How long a request may wait in an overload, in ms. */
  get limit (): number {
    return this.#line.limit
  }

  /** How long nothing starts from now on, in ms, because enough was started already. */
  ahead (now: number): number {
    return Math.max(0, this.#pace.wait(now))
  }

  /** A request has arrived. */
  arrived (): void {
    this.#hasNews = true
  }

  /** A connection was accepted. */
  connected (): void {
    this.#hasNews = this.#hasAccepted = true
  }

  /** Tells whether a request that arrives now starts at once. */
  passes (route: Route, now: number): boolean {
    if (this.held > 0 || this.#pace.wait(now) > 0 || this.isLate(now)) return false
    return (route.known && route.atOnce <= QUANTUM_MS) || now - this.time.idleAt < QUANTUM_MS
  }

  /** Tells whether this turn has lasted so long that no other request starts in it. */
  isLate (now: number): boolean {
    return now - this.time.turnAt >= QUANTUM_MS
  }

  /** Starts a request that was not held. */
  pass (route: Route, now: number): Started {
    return this.#begin(new Started(route), now)
  }

  /** Holds a request, or returns why it is refused. To hold it, another may be refused. */
  hold (entry: T, now: number): LoopRefusal | undefined {
    const line = this.#line
    entry.arrived = entry.since = now
    entry.expected = this.#expected(entry.route)
    line.offered(now)
    const bound = line.check(entry, now) ?? this.#evict(entry, now)
    if (bound !== undefined) return this.#refusal(entry, bound, now)
    if (this.held === 0) this.#drainsSince = now
    entry.sequence = ++this.#sequence
    entry.state = 'runnable'
    line.queue.push(entry)
    return undefined
  }

  /** The client of a request has left. Returns whether the request was held, and is out now. */
  leave (entry: T, now: number): boolean {
    const { state } = entry
    if (state === 'done' || entry.left) return false
    this.#line.left(entry, (state === 'taken' ? entry.takenAt : now) - entry.since)
    entry.left = true
    if (state === 'taken') return false
    this.#remove(entry)
    return true
  }

  /** Takes out a held request that somebody else has answered. */
  drop (entry: T): void {
    if (entry.state === 'runnable') this.#remove(entry)
  }

  /**
   * Call this method in the check phase of each turn while requests are held. Returns whether the turns before brought
   * all that there was.
   */
  isDrained (now: number): boolean {
    const isDrained = !this.#hasNews || (now - this.#drainsSince >= MAX_DRAIN_MS && !this.#isAccepting(now))
    this.#hasNews = this.#hasAccepted = false
    if (isDrained) {
      this.#drainTurns = 0
      this.time.beginTurn(now)
      this.#begun = 0
    }
    return isDrained
  }

  /**
   * Returns the next request that starts in this turn; or how long to wait, in ms, before the loop is turned again; or
   * undefined if none is held.
   */
  next (now: number): T | number | undefined {
    const wait = this.#pace.wait(now)
    if (wait > 0) return this.held > 0 ? wait : undefined
    return (this.isLate(now) ? undefined : this.nextShort(now)) ?? this.#rest(now)
  }

  /** Returns the next request, if it may start now and doesn't hold this turn for long. */
  nextShort (now: number): T | undefined {
    if (this.#pace.wait(now) > 0) return undefined
    const entry = this.#line.next(now)
    if (entry === undefined) return undefined
    const work = entry.route.known ? entry.route.atOnce + this.time.extra : QUANTUM_MS
    if (this.#begun > 0 && this.#begun + work > QUANTUM_MS) return undefined
    this.#begun += work
    return entry
  }

  /** Starts a held request. Call ran() when its code has returned. */
  take (entry: T, now: number): Started {
    this.#line.queue.take(entry)
    this.#line.occupy(entry, now)
    entry.state = 'taken'
    entry.takenAt = now
    return this.#begin(new Started(entry.route, entry), now)
  }

  /** The code of a held request has returned to the gate. What it does later is settled when it has been answered. */
  ran (entry: T, now: number): void {
    this.#line.free(entry, now)
    this.#line.ran(entry, entry.expected)
  }

  /** A request has held the loop for `ms`, without a break. */
  spent (started: Started, ms: number): void {
    started.ms += ms
    if (started.turn === this.time.turn) started.atOnce = started.ms
    started.route.total += ms
  }

  /** A request has been answered: all that it cost is known. */
  answered (started: Started, now: number): void {
    if (started.isSettled) return
    started.isSettled = true
    const { route, ms, atOnce, entry } = started
    route.sample(ms, atOnce, now)
    this.#pace.charge(ms - started.charged, now)
    if (entry === undefined) return
    if (entry.state === 'taken') entry.state = 'done'
    this.#line.queue.charge(entry, ms + this.time.extra - entry.expected)
  }

  #begin (started: Started, now: number): Started {
    const { route } = started
    this.time.started()
    started.turn = this.time.turn
    if (!route.known && now - route.startedAt > UNANSWERED_MS) {
      const mean = route.total / route.count
      route.sample(mean, mean, now)
    }
    if (route.count++ === 0) route.startedAt = now
    const charged = started.charged = route.known ? route.cost : QUANTUM_MS
    this.#pace.charge(charged + this.time.extra + SPARE * (charged - route.atOnce), now)
    return started
  }

  /** The cost is a multiple of the least one, so that sums of costs are exact. */
  #expected (route: Route): number {
    return Math.max(LEAST_COST_MS, Math.round((route.cost + this.time.extra) / LEAST_COST_MS) * LEAST_COST_MS)
  }

  /** Tells whether connections are accepted before a request that holds the loop starts. */
  #isAccepting (now: number): boolean {
    if (!this.#hasAccepted || ++this.#drainTurns >= ACCEPT_TURNS) return false
    const route = this.#line.next(now)?.route
    return route !== undefined && (!route.known || route.atOnce > QUANTUM_MS)
  }

  /** Ends the turn of the pump. A turn that follows it without the pump is young, too. */
  #rest (now: number): number | undefined {
    this.#drainsSince = this.time.turnAt = now
    return this.held > 0 ? 0 : undefined
  }

  /** Makes a place for an arriving request, or returns the bound that the request meets. */
  #evict (entry: T, now: number): Bound | undefined {
    if (this.held < this.#maxHeld) return undefined
    const { queue } = this.#line
    const { last } = queue
    const bound: Bound = { reason: 'count', estimatedWait: this.#line.wait(entry), limit: this.#maxHeld }
    const tail = last !== undefined && last.until > queue.until(entry) ? last.queue.tail as T | undefined : undefined
    if (tail === undefined) return bound
    this.#refuse(tail, bound, now)
    return undefined
  }

  #refuse (entry: T, bound: Bound, now: number): void {
    this.#line.refused(entry, now)
    this.#remove(entry)
    this.#onRefused(entry, this.#refusal(entry, bound, now))
  }

  #refusal (entry: T, { reason, estimatedWait, limit }: Bound, now: number): LoopRefusal {
    const retryAfter = this.#retryAfter.tell(entry.owner as string, this.#line.work, entry.expected, now)
    return { reason: reason as LoopRefusalReason, held: this.held, estimatedWait, limit, retryAfter }
  }

  #remove (entry: T): void {
    this.#line.queue.remove(entry)
    entry.state = 'done'
  }
}
