/**
 * Contexts: what runs at the same time. Each request is one, and each background task. Two contexts are never ordered with respect to each
 * other. A turn is one slice of code that runs without a pause; contexts change between turns only.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Access, Location, Party } from './shadow.ts'

/** How many locations a context remembers; the oldest is forgotten. */
const MOST_LOCATIONS = 1_000

export class Context {
  /** What outlives the context: shadow memory names it, and must not keep all that the context has seen. */
  readonly party: Party
  /** The locks that the context holds, by their holds. */
  readonly locks = new Map<object, string>()
  readonly #accesses = new Map<Location, Access>()

  /**
   * @param name as reports show it: `request req-1 GET /a`
   * @param owner the server of the app that it belongs to
   */
  constructor (name: string, owner: object) {
    this.party = { name, owner }
  }

  /** The last location whose value the context has changed, and the turn. */
  #changed: { readonly location: Location, readonly turn: number } | undefined

  noteChange (location: Location, turn: number): void {
    this.#changed = { location, turn }
  }

  /** Whether the context has just changed another location, in this turn: `charged += 10; order.paid = true`. */
  hasChangedAnother (location: Location, turn: number): boolean {
    return this.#changed !== undefined && this.#changed.turn === turn && this.#changed.location !== location
  }

  /** What the context has done to a location; undefined if nothing. */
  seen (location: Location): Access | undefined {
    return this.#accesses.get(location)
  }

  /** What the context has done to each location that it remembers. */
  get all (): Iterable<[Location, Access]> {
    return this.#accesses
  }

  /** What the context has done to a location. */
  accessTo (location: Location): Access {
    let access = this.#accesses.get(location)
    if (access === undefined) {
      if (this.#accesses.size >= MOST_LOCATIONS) this.#accesses.delete(this.#accesses.keys().next().value as Location)
      this.#accesses.set(location, access = { reads: [] })
    }
    return access
  }
}

const contexts = new AsyncLocalStorage<Context>()

export function currentContext (): Context | undefined {
  return contexts.getStore()
}

export function runIn<T> (context: Context, fn: () => T): T {
  return contexts.run(context, fn)
}

const names = new AsyncLocalStorage<string>()

/** Runs `fn`, which sends a request; that is shown by the name. Ids of requests say nothing of the order in which a test sends them. */
export function named<T> (name: string, fn: () => T): T {
  return names.run(name, fn)
}

/** The name of the request that is sent; undefined for all but those of an exploration. */
export function currentName (): string | undefined {
  return names.getStore()
}

let turn = 0
let isCounting = false

function next (): void {
  turn++
  isCounting = false
}

/** The number of the current turn. The first access of a turn arranges for the next one: that costs less than async hooks. */
export function currentTurn (): number {
  if (!isCounting) {
    queueMicrotask(next)
    isCounting = true
  }
  return turn
}
