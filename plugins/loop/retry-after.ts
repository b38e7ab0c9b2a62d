/**
 * RetryAfter tells refused clients when to come back, so that a crowd doesn't come back as a crowd: each is given a
 * time of its own, behind the work that is held and behind those who were told before.
 */
import { wholeSeconds } from '../shared/coded-error.ts'

/** The longest time that a client is told, in ms. A flood must not send away for hours who comes in its way. */
const MAX_RETRY_AFTER_MS = 60_000
/** The most keys that are remembered at a time. Further ones share a time. */
const MAX_KEYS = 1_000

export class RetryAfter {
  /** When the last client of all that were told is due to have been served. */
  #until = 0
  /**
   * The same for each key. One key can only keep itself away: of all that it is told meanwhile, the first counts for
   * the others.
   */
  readonly #byKey = new Map<string, number>()

  /**
   * Returns whole seconds, at least one.
   *
   * @param held the time in which the loop does all that is held, in ms
   * @param cost what the refused request is expected to cost, in ms
   */
  tell (key: string, held: number, cost: number, now: number): number {
    const longest = now + MAX_RETRY_AFTER_MS
    const last = this.#byKey.get(key) ?? 0
    const isFirst = last <= now
    const until = Math.min(longest, Math.max(now + held, isFirst ? this.#until : last) + cost)
    if (isFirst) this.#until = until
    if (!isFirst || this.#hasRoom(now)) this.#byKey.set(key, until)
    return wholeSeconds(until - cost - now)
  }

  #hasRoom (now: number): boolean {
    if (this.#byKey.size < MAX_KEYS) return true
    for (const [key, until] of this.#byKey) if (until <= now) this.#byKey.delete(key)
    return this.#byKey.size < MAX_KEYS
  }
}
