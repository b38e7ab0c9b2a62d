/**
 * Ledger is where work ends, whatever its kind: it counts the outcome, publishes it, ends the trace, and writes the
 * line in the log. Each kind of work has a ledger that says which account, which channels and which lines; none of them
 * decides anything.
 */
import type { FastifyBaseLogger } from 'fastify'
import { logSafely, type LogLevel } from '../../shared/log.ts'
import type { TypedChannel } from '../../shared/typed-channel.ts'
import type { How, Outcome } from '../outcome.ts'
import type { Account } from './counts.ts'

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

  protected abstract accountOf (work: Work): Pick<Account, 'count'>
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
