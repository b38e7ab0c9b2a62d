/**
 * Bounds how often `authorize` may refuse the requests of an address, so that nobody tries passwords as fast as the network allows. An attempt counts
 * until it has passed, so that attempts at the same time are bounded too.
 */
import { LimitedError } from '../shared/errors.ts'
import { wholeSeconds } from '../shared/coded-error.ts'

/** Refused attempts of an address in a window. A page makes ten requests, and a browser sends its first one without credentials. */
const MAX_REFUSED = 20
/** In ms. */
const WINDOW_MS = 60_000
/** The most addresses that are remembered; the oldest is forgotten for a further one. */
const MAX_ADDRESSES = 1_000

export interface Attempts {
  /** How many attempts of the window have not passed. */
  count: number
  readonly endsAt: number
}

export class AttemptsByAddress {
  readonly #windows = new Map<string, Attempts>()
  readonly #onLimit: (address: string) => void

  /** @param onLimit called with the attempt of an address that is the last one of its window */
  constructor (onLimit: (address: string) => void) {
    this.#onLimit = onLimit
  }

  /**
   * Counts an attempt. Call `passed()` with the result if the attempt is not refused.
   *
   * @throws FC_ERR_LIMITED (429)
   */
  begin (address: string, now: number): Attempts {
    const known = this.#windows.get(address)
    if (known !== undefined && known.endsAt > now) {
      if (known.count >= MAX_REFUSED) throw new LimitedError(undefined, wholeSeconds(known.endsAt - now))
      if (++known.count === MAX_REFUSED) this.#onLimit(address)
      return known
    }
    const begun = { count: 1, endsAt: now + WINDOW_MS }
    // Deleted first, so that the Map is in the order of the windows' ends.
    this.#windows.delete(address)
    this.#windows.set(address, begun)
    const [oldest] = this.#windows.keys()
    if (this.#windows.size > MAX_ADDRESSES && oldest !== undefined) this.#windows.delete(oldest)
    return begun
  }

  passed (address: string, attempts: Attempts): void {
    if (--attempts.count === 0 && this.#windows.get(address) === attempts) this.#windows.delete(address)
  }
}
