/**
 * How work ends, and where its end is recorded.
 *
 * Outcome says how a piece of work has ended: a job, a task, a wait for a lock, a decision of the limiter. Whoever
 * decides the end makes the outcome. It settles the work's caller and goes to the ledger, so that what a caller is told
 * and what is counted can't differ.
 *
 * Ledger is where work ends, whatever its kind: it counts the outcome, publishes it, ends the trace, and writes the
 * line in the log. Each kind of work has a ledger that says which account, which channels and which lines; none of them
 * decides anything.
 */
import type { FastifyBaseLogger } from 'fastify'
import { logSafely, type LogLevel } from '../../shared/log.ts'
import type { TypedChannel } from '../../shared/typed-channel.ts'

/**
 * - `completed`: the work has a result.
 * - `failed`: its own code has thrown, or its payload or result could not be sent.
 * - `refused`: the service would not do it; `error` is a refusal (429, 503). An error that is a refusal has no other
 *   outcome.
 * - `aborted`: its caller, a client or an operator has stopped it.
 * - `expired`: its deadline has passed.
 * - `crashed`: its thread or process has died.
 */
export type How = 'completed' | 'failed' | 'refused' | 'aborted' | 'expired' | 'crashed'

export interface Outcome {
  readonly how: How
  /** How long the work ran, in ms; 0 if it did not. */
  readonly ms: number
  /** The result. */
  readonly value: unknown
  /** What the caller gets in place of a result. */
  readonly error: unknown
  /** Of a refusal, the word for its cause. Of an abort, the reason of the signal. */
  readonly reason: unknown
}

// All have the same fields in the same order, so that V8 has one shape for them.
const outcome = (how: How, ms: number, value: unknown, error: unknown, reason: unknown): Outcome =>
  ({ how, ms, value, error, reason })

export const completed = (value: unknown, ms: number): Outcome => outcome('completed', ms, value, undefined, undefined)
export const failed = (error: unknown, ms = 0): Outcome => outcome('failed', ms, undefined, error, undefined)
export const refused = (error: Error & { readonly reason: string }): Outcome =>
  outcome('refused', 0, undefined, error, error.reason)
export const aborted = (error: Error, reason: unknown = error): Outcome =>
  outcome('aborted', 0, undefined, error, reason)
export const expired = (error: Error, ms = 0): Outcome => outcome('expired', ms, undefined, error, undefined)
export const crashed = (error: Error): Outcome => outcome('crashed', 0, undefined, error, undefined)

/** The level of the line about each outcome; undefined for none. */
export type Levels = Readonly<Record<How, LogLevel | undefined>>

/**
 * The caller has the error of work that has failed, so a line about it is for debugging. A thread or a process that
 * dies is never without a line, also if its callers catch the error. Refusals are sampled by shared/refusal-log.ts when
 * they are answered.
 */
export const levels: Levels = {
  completed: 'debug', failed: 'debug', refused: undefined, aborted: 'debug', expired: 'debug', crashed: 'warn'
}

export abstract class Ledger<Work> {
  readonly #what: string
  readonly #channels: Readonly<Record<How, TypedChannel<never>>>
  readonly #levels: Levels

  /** @param what the kind of the work, for lines */
  constructor (what: string, channels: Readonly<Record<How, TypedChannel<never>>>, levels: Levels) {
    this.#what = what
    this.#channels = channels
    this.#levels = levels
  }

  protected abstract accountOf (work: Work): { count (outcome: Outcome): void }
  /** Returns the message for the channel of the outcome. It is called only if somebody listens. */
  protected abstract message (work: Work, outcome: Outcome): object
  protected abstract endTrace (work: Work, outcome: Outcome): void
  protected abstract logOf (work: Work): FastifyBaseLogger
  /** The word for an outcome in lines. */
  protected word (how: How): string {
    return how
  }

  /** Returns the fields of the line. They are made only if the log writes it. */
  protected abstract fields (work: Work, outcome: Outcome): Record<string, unknown>

  /** Records the end of a piece of work, when its caller has its answer. */
  ended (work: Work, outcome: Outcome): void {
    const { how } = outcome
    this.accountOf(work).count(outcome)
    const channel = this.#channels[how]
    if (channel.hasSubscribers) channel.publish(this.message(work, outcome) as never)
    this.endTrace(work, outcome)
    const level = this.#levels[how]
    if (level === undefined) return
    const log = this.logOf(work)
    if (level !== 'debug' || writesDebug(log)) {
      logSafely(log, level, this.fields(work, outcome), `${this.#what} ${this.word(how)}`)
    }
  }
}

/** Most services don't write debug lines. Only a logger that can say so is asked. */
export function writesDebug (log: FastifyBaseLogger & { isLevelEnabled?: (level: string) => boolean }): boolean {
  return log.isLevelEnabled?.('debug') !== false
}
