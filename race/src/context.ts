/**
 * Contexts: what runs at the same time. Each request is one, and each background task. Two contexts are never ordered with respect to each
 * other. A turn is one slice of code that runs without a pause; contexts change between turns only.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { type Access, type Location, type Party, type Read, remember } from './shadow.ts'

/** How many locations a context remembers; the oldest is forgotten. */
const MOST_LOCATIONS = 1_000

/** How many additions a context remembers. */
const MOST_ADDITIONS = 4

/** A change that adds to what was there: an element of a list, an amount to a sum. */
export interface Addition {
  readonly location: Location
  readonly turn: number
  /** Its place among reads and additions. */
  readonly order: number
  readonly isAppended: boolean
}

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

  /** The last changes that add to what was there: they show if something is done twice. */
  readonly #additions: Addition[] = []

  noteAddition (addition: Addition): void {
    remember(this.#additions, addition, MOST_ADDITIONS)
  }

  /**
   * Whether the context has added to another place since a read: `charged += 10; order.paid = true`. Who counts before the first await counts
   * attempts, misses of a cache say.
   */
  hasAddedSince ({ order, turn }: Read, location: Location): boolean {
    return this.#additions.some((addition) => addition.location !== location && addition.order > order && (addition.isAppended || addition.turn > turn))
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
