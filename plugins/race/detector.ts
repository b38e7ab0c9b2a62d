/**
 * The detector: takes each access of tracked state, applies the rules, and reports. There is one in a process. It is on while something needs it:
 * RACE=1, an app with the plugin, or an exploration. A failure of its own switches it off, says so, and never reaches the code under test.
 */
import { type Context, currentContext, currentTurn } from './context.ts'
import { Reports, type RaceReport } from './reports.ts'
import { judge, type NextWrite } from './rule.ts'
import { rememberRead, rememberWrite, Shadow, type Location, type Locations, type Read, type ReadKind, type Write, type WriteKind } from './shadow.ts'
import { Site } from './sites.ts'
import { dependenceOf, writesText } from './source/dependence.ts'

/** Fields of an object that are remembered at a read. */
const MOST_FIELDS = 16

export interface DetectorSettings {
  maxLocations: number
}

class Detector {
  readonly reports = new Reports()
  readonly shadow = new Shadow(100_000)
  #users = 0
  #isBroken = false

  /** Whether the detector has failed, and looks at nothing until its users are gone. */
  get isBroken (): boolean {
    return this.#isBroken
  }

  get isOn (): boolean {
    return this.#users > 0
  }

  /** Switches the detector on for one user, who calls the function that is returned when done. */
  use (): () => void {
    this.#users++
    let isUsed = true
    return () => {
      if (isUsed && --this.#users === 0) {
        this.shadow.clear()
        this.#isBroken = false
      }
      isUsed = false
    }
  }

  locate (locations: Locations, key: unknown, create: () => Location): Location {
    return this.shadow.locate(locations, key, create)
  }

  read (location: () => Location, kind: ReadKind, value: unknown): void {
    this.#guard((context) => this.#read(location(), kind, value, context))
  }

  /** Call it before the write is done. */
  write (location: () => Location, next: NextWrite): void {
    this.#guard((context) => this.#write(location(), next, context))
  }

  /** Begins to watch an array that is iterated. Returns a function to call before each further step. */
  iterate (location: () => Location): () => void {
    let began: { location: Location, context: Context, site: Site, turn: number, version: number } | undefined
    this.#guard((context) => {
      const at = location()
      began = { location: at, context, site: new Site(), turn: currentTurn(), version: at.version }
    })
    return () => this.#guard((context) => {
      if (began === undefined || began.turn === currentTurn() || began.context !== context) return
      const { location: { writes }, version, site } = began
      const shift = writes.find((write) => write.version > version && write.kind === 'shift' && write.context !== context)
      if (shift === undefined) return
      this.reports.add({ kind: 'iteration', isConfirmed: true, location: began.location, read: { context, site }, other: shift, write: undefined })
      began = undefined
    })
  }

  #guard (track: (context: Context) => void): void {
    if (this.#users === 0 || this.#isBroken) return
    try {
      const context = currentContext()
      if (context !== undefined) track(context)
    } catch (error) {
      this.#isBroken = true
      process.emitWarning(`the race detector has failed and is off from now on: ${error instanceof Error ? error.stack ?? error.message : String(error)}`)
    }
  }

  #read (location: Location, kind: ReadKind, value: unknown, context: Context): void {
    const access = context.accessTo(location)
    const turn = currentTurn()
    const last = access.reads.at(-1)
    // The fast path: nobody else can have written since.
    if (last !== undefined && last.turn === turn && last.kind === kind && last.version === location.version) return
    const site = new Site()
    const { write: own } = access
    if (own !== undefined && own.isBlind && own.kind === 'set' && kind === 'value' && own.turn < turn && !location.isLww) {
      const other = location.writes.at(-1)
      if (other !== undefined && other.context !== context && other.isBlind && other.kind === 'set' && other.version > own.version && !Object.is(own.value, value)) {
        this.reports.add({ kind: 'overwritten', isConfirmed: true, location, read: { context, site }, other, write: own })
      }
    }
    rememberRead(access, { kind, version: location.version, turn, site, value, snapshot: snapshotOf(value) })
  }

  #write (location: Location, next: NextWrite, context: Context): void {
    const access = context.accessTo(location)
    const turn = currentTurn()
    const site = new Site()
    const how = {
      context,
      turn,
      dependence: (read: Read) => dependenceOf(read.site.frames, site.frames),
      isClaim: () => typeof next.value === 'string' && writesText(site.frames)
    }
    let verdict = judge({ location, access, next, ...how })
    for (const { location, now, isThere } of next.inner ?? []) {
      const seen = verdict === undefined ? context.seen(location) : undefined
      if (seen !== undefined) verdict = judge({ location, access: seen, next: { kind: 'add', value: next.value, before: now, had: isThere }, ...how })
    }
    const write: Write = {
      kind: next.kind,
      version: ++location.version,
      turn,
      site,
      context,
      value: next.value,
      isBlind: access.reads.length === 0,
      locks: [...context.locks.values()]
    }
    rememberWrite(location, write)
    access.write = write
    if (verdict === undefined) return
    const { kind, isConfirmed, read, other } = verdict
    this.reports.add({ kind, isConfirmed, location, read: { context, site: read.site }, other, write })
  }
}

function snapshotOf (value: unknown): Record<string, unknown> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Map || value instanceof Set) return undefined
  const snapshot: Record<string, unknown> = {}
  let fields = 0
  for (const [key, field] of Object.entries(value)) {
    if (++fields > MOST_FIELDS) break
    snapshot[key] = field
  }
  return snapshot
}

export const detector = new Detector()
export type { RaceReport, WriteKind }
