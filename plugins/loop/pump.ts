/**
 * Pump starts requests as the gate says, measures what their code takes, and turns the event loop while requests are
 * held. It knows the loop by four functions, so that the tests run it in a model of one, in virtual time.
 */
import { type Gate, type HeldEntry, type LoopRefusal, type Started } from './gate.ts'
import type { Route } from './routes.ts'

export interface EventLoop {
  /** Milliseconds on a clock that never goes backwards. */
  now (): number
  /** Milliseconds for which the loop has been idle. */
  idle (): number
  /** Turns of the loop so far. */
  turns (): number
  /** Calls `fn` in the check phase of this turn, or of the next one if it is under way. */
  turn (fn: () => void): void
  /** Calls `fn` when the code has returned that runs now. */
  soon (fn: () => void): void
  /** Calls `fn` after `ms`. */
  after (ms: number, fn: () => void): void
}

/**
 * The part of a request that has held the loop: up to the return of its handler, or up to its answer. `unknown`:
 * something else.
 */
export type Part = 'start' | 'answer' | 'unknown'

/** Something has held the loop. */
export interface Stall {
  ms: number
  part: Part
  /** Undefined if no request is known to have held the loop. */
  route: Route | undefined
  started: Started | undefined
  /** Whether no turn of the loop lies between, in which something else may have held it. */
  sure: boolean
}

/** An answer that follows the last mark by no more than this, in ms, is taken to come in the same turn of the loop. */
const AT_ONCE_MS = 1
/** Busy time that is spread over more turns than this held nobody up. */
const MAX_TURNS = 3

export class Pump<T extends HeldEntry> {
  readonly #gate: Gate<T>
  readonly #loop: EventLoop
  readonly #start: (entry: T) => void
  readonly #slow: number
  readonly #onStall: (stall: Stall) => void
  #isTurning = false
  /** The turn of the last mark, or one before it. */
  #turn = 0
  /** The last turn that was found to have begun when its time seemed to be over. */
  #lateTurn = 0

  /**
   * @param start calls begin() for a held request
   * @param slow from how many ms on a stall is one
   */
  constructor (
    gate: Gate<T>, loop: EventLoop, start: (entry: T) => void, slow: number, onStall: (stall: Stall) => void
  ) {
    this.#gate = gate
    this.#loop = loop
    this.#start = start
    this.#slow = slow
    this.#onStall = onStall
  }

  /** A request has arrived. Returns the time. */
  arrived (): number {
    this.#gate.arrived()
    return this.#unowned()
  }

  /** Tells whether a request that has arrived starts at once. */
  passes (route: Route, now: number): boolean {
    const gate = this.#gate
    if (gate.passes(route, now)) return true
    if (gate.held > 0 || !gate.isLate(now)) return false
    // A loop that is busy with short turns never idles. To read the number of the turn each time would cost more than
    // the clock.
    const turn = this.#loop.turns()
    if (turn === this.#lateTurn) return false
    this.#lateTurn = turn
    gate.time.beginTurn(now)
    return gate.passes(route, now)
  }

  /** Holds a request, or returns why it is refused. */
  hold (entry: T, now: number): LoopRefusal | undefined {
    const refusal = this.#gate.hold(entry, now)
    if (this.#gate.held > 0) this.#turnAfter(0)
    this.#turn = this.#loop.turns()
    return refusal
  }

  /** Runs the code of a request that the gate has started. */
  run (started: Started, code: () => void): void {
    started.isRunning = true
    try {
      code()
    } finally {
      started.isRunning = false
      const now = this.#loop.now()
      this.#spent(started, 'start', this.#gate.time.markWithin(now), now)
      // What comes after it is compared with this turn.
      if (!started.isSent) this.#turn = this.#loop.turns()
    }
  }

  /** Starts a held request, whose turn it is. `code` calls run(). */
  begin (entry: T, code: (started: Started) => void): void {
    const started = this.#gate.take(entry, this.#unowned())
    try {
      code(started)
    } finally {
      this.#gate.ran(entry, this.#loop.now())
    }
  }

  /** A request is being answered. */
  answered (started: Started): void {
    started.isSent = true
    // The time up to its return is measured then.
    if (started.isRunning) return
    const now = this.#loop.now()
    const ms = this.#gate.time.mark(now, this.#loop.idle())
    this.#spent(started, 'answer', ms, now)
    // An answer that follows at once is taken to come in the turn of the start, whose number is known.
    if (ms > AT_ONCE_MS || started.turn !== this.#gate.time.turn) this.#turn = this.#loop.turns()
    // The start of other work follows, so that as much is under way as before. If it waited for the end of the turn,
    // all that was started then would come back together, and make another turn as long.
    if (this.#gate.held > 0) this.#loop.soon(this.#onAnswer)
  }

  #unowned (): number {
    const now = this.#loop.now()
    const ms = this.#gate.time.markUnowned(now, this.#loop.idle())
    if (ms >= this.#slow) this.#stalled(ms, 'unknown', undefined)
    return now
  }

  #spent (started: Started, part: Part, ms: number, now: number): void {
    this.#gate.spent(started, ms)
    if (started.isSent) this.#gate.answered(started, now)
    if (ms >= this.#slow || ms > started.route.longest) this.#stalled(ms, part, started)
  }

  #stalled (ms: number, part: Part, started: Started | undefined): void {
    const turns = part === 'start' ? 0 : this.#loop.turns() - this.#turn
    const { route } = started ?? {}
    const sure = turns <= 1 && route !== undefined
    if (sure) route.longest = Math.max(route.longest, ms)
    if (ms >= this.#slow && turns <= MAX_TURNS) this.#onStall({ ms, part, route, started, sure })
  }

  #turnAfter (wait: number): void {
    if (this.#isTurning) return
    this.#isTurning = true
    // A timer is no earlier than 1 ms.
    if (wait >= 1) this.#loop.after(wait, () => this.#loop.turn(this.#onTurn))
    else this.#loop.turn(this.#onTurn)
  }

  readonly #onAnswer = (): void => {
    const next = this.#gate.nextShort(this.#loop.now())
    if (next !== undefined) this.#start(next)
  }

  readonly #onTurn = (): void => {
    this.#isTurning = false
    const gate = this.#gate
    if (!gate.isDrained(this.#loop.now())) return this.#turnAfter(0)
    let next: T | number | undefined = 0
    try {
      for (next = gate.next(this.#loop.now()); typeof next === 'object'; next = gate.next(this.#loop.now())) this.#start(next)
    } finally {
      // What a request throws outside of Fastify's own handling is thrown on, and the others are served.
      if (typeof next === 'object') next = 0
      if (next !== undefined) this.#turnAfter(next)
    }
  }
}
