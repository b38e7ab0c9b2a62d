/** Shadow memory: what is remembered of each location, a place that holds one value. All of it is bounded. */
import type { Site } from './sites.ts'

/** What a read looked at: a value; whether a key is there; how much is in the whole of a collection; or all that is in it, one by one. */
export type ReadKind = 'value' | 'has' | 'size' | 'walk'

/** Whether a read looked at the whole of a collection. */
export const isOfWhole = ({ kind }: { readonly kind: ReadKind }): boolean => kind === 'size' || kind === 'walk'

/**
 * What a write did: set a value, delete it; or, to the whole of a collection, add to its end or by a new key, shift what is in it to other
 * places, or clear it by its keys.
 */
export type WriteKind = 'set' | 'delete' | 'add' | 'shift' | 'clear'

/** What a write does to what was there: adds to it, leaves nothing of it, or something else. */
export type Effect = 'adds' | 'empties' | 'other'

/** Who accesses: a context, as far as reports tell of it. */
export interface Party {
  /** As reports show it: `request req-1 GET /a`. */
  readonly name: string
  /** The server of the app that it belongs to. */
  readonly owner: object
}

export interface Read {
  readonly kind: ReadKind
  readonly version: number
  readonly turn: number
  /** Its place among reads and additions. */
  readonly order: number
  readonly site: Site
  readonly value: unknown
  /** The fields of an object at the time of the read. */
  readonly snapshot: Readonly<Record<string, unknown>> | undefined
}

export interface Write {
  readonly kind: WriteKind
  /** The location's version that the write made. */
  version: number
  readonly turn: number
  readonly site: Site
  readonly party: Party
  /** The context had not read the location. */
  readonly isBlind: boolean
  /** The value that the write put there. */
  value: unknown
  /** The value that the write replaced. */
  readonly before: unknown
  readonly effect: Effect
  /** The names of the locks that were held. */
  readonly locks: readonly string[]
}

/** What one context has done to a location. */
export interface Access {
  readonly reads: Read[]
  /** Its last write. */
  write?: Write
  /** The write by which it emptied the whole, of which it had read nothing. */
  reset?: Write
  /** What it has deleted by its last write, and when. */
  deleted?: { readonly turn: number, readonly value: unknown } | undefined
}

export interface Location {
  /** As reports show it: `sessions.get("a")`. */
  readonly name: string
  /** The last writer may win. */
  readonly isLww: boolean
  version: number
  /** The last ones. */
  readonly writes: Write[]
  /** The first one that set a value without a look at what was there. */
  first?: Write
  /** The last one by which a context has emptied the whole, of which it had read nothing. */
  reset?: Write
}

const MOST_READS = 4
const MOST_WRITES = 8

export function remember<T> (list: T[], entry: T, most: number): void {
  if (list.length >= most) list.shift()
  list.push(entry)
}

export const rememberRead = (access: Access, read: Read): void => remember(access.reads, read, MOST_READS)
export const rememberWrite = (location: Location, write: Write): void => remember(location.writes, write, MOST_WRITES)

/** The locations of one tracked collection, by key. Those of a weak collection live as long as the keys. */
export type Locations = Map<unknown, Location> | WeakMap<WeakKey, Location>

/** A collection whose keys are locations. */
export interface Collection {
  readonly locations: Locations
  /** The last writer may win. */
  readonly isLww: boolean
  /** Whether it is tracked since before any request: what is made later is reached through such a one, or is of one request. */
  readonly isEarly: boolean
  /** How many reads of it were remembered. */
  reads: number
  /** Whether a context has read it in one turn and written to it in a later one. Only such reads are looked at again. */
  hasWindows: boolean
  nameOf (key: unknown): string
}

interface Kept {
  readonly locations: Map<unknown, Location>
  readonly key: unknown
}

/** The last value of a location that was read or written, and by whom the location was accessed. */
export interface Seen {
  value: unknown
  readonly parties: Set<Party>
}

/** What was accessed while somebody watched. */
export interface Watched {
  readonly collections: ReadonlySet<Collection>
  readonly values: ReadonlyMap<Location, Seen>
  /** Objects in whose place another value was put. */
  readonly replaced: ReadonlySet<unknown>
}

/** All locations, the least recently created first: when there are too many, the oldest is forgotten, and starts anew when it is met again. */
export class Shadow {
  most: number
  /** From `#first` on; what is before is forgotten. */
  #all: Kept[] = []
  #first = 0

  #watched: { readonly collections: Set<Collection>, readonly values: Map<Location, Seen>, readonly replaced: Set<unknown> } | undefined

  constructor (most: number) {
    this.most = most
  }

  /** Notes what is accessed from now on, until `end` is called. */
  watch (): Watched & { readonly end: () => void } {
    const watched = this.#watched = { collections: new Set<Collection>(), values: new Map<Location, Seen>(), replaced: new Set<unknown>() }
    return { ...watched, end: () => { this.#watched = undefined } }
  }

  /** Notes the value that a location has now. @param before the one that it had */
  note (location: Location, value: unknown, party: Party, before = value): void {
    if (this.#watched === undefined) return
    if (before !== value && typeof before === 'object') this.#watched.replaced.add(before)
    const seen = this.#watched.values.get(location)
    if (seen === undefined) this.#watched.values.set(location, { value, parties: new Set([party]) })
    else {
      seen.value = value
      seen.parties.add(party)
    }
  }

  get size (): number {
    return this.#all.length - this.#first
  }

  locate (collection: Collection, key: unknown): Location {
    this.#watched?.collections.add(collection)
    const { locations } = collection
    let location = locations.get(key as WeakKey)
    if (location !== undefined) return location
    location = { name: collection.nameOf(key), isLww: collection.isLww, version: 0, writes: [] }
    locations.set(key as WeakKey, location)
    if (!(locations instanceof Map)) return location
    this.#all.push({ locations, key })
    if (this.size > this.most) this.#forget()
    return location
  }

  /** Forgets the oldest location. */
  #forget (): void {
    const oldest = this.#all[this.#first]
    if (oldest === undefined) return
    oldest.locations.delete(oldest.key)
    this.#first++
    if (this.#first <= this.#all.length / 2) return
    this.#all = this.#all.slice(this.#first)
    this.#first = 0
  }

  clear (): void {
    while (this.size > 0) this.#forget()
  }
}
