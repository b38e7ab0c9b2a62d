/**
 * The detector: takes each access of tracked state, applies the rules, and reports. There is one in a process. It is on while something needs it:
 * RACE=1, an app with the plugin, or an exploration. A failure of its own switches it off, says so, and never reaches the code under test.
 */
import { types } from 'node:util'
import { type Context, currentContext, currentTurn } from './context.ts'
import { attempt, fail, hasFailed, mend } from './failure.ts'
import { Reports } from './reports.ts'
import { isAlike, isTime } from './proxies/alike.ts'
import { effectOf, judge, type NextWrite } from './rule.ts'
import { rememberRead, rememberWrite, Shadow, type Access, type Collection, type Location, type Party, type Read, type ReadKind, type Write } from './shadow.ts'
import { Depth, Site } from './sites.ts'
import { isClaim, isCompared, isComputed, isFilledIn, isHandedOn, isOfPresence, isRechecked } from './source/claim.ts'
import { dependenceOf, isSameStatement, writesText } from './source/dependence.ts'
import { isWaitedFor, waitsAround } from './source/waits.ts'
import { WHOLE, within } from './tracked.ts'

/** Fields of an object that are remembered at a read. */
const MOST_FIELDS = 16

const NO_LOCKS: readonly string[] = []

/** After this many reads that led to no dependent write, reads of a collection record only their own place, to save cost. */
const COLD_READS = 1_000

class Detector {
  readonly reports = new Reports()
  readonly shadow = new Shadow(100_000)
  #users = 0
  #order = 0
  /** What judges an access may look at tracked values itself. */
  #isJudging = false

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
        mend()
      }
      isUsed = false
    }
  }

  /** Whether somebody looks for races, and the running code is in a context. */
  get isWatching (): boolean {
    return this.#context() !== undefined
  }

  read (collection: Collection, key: unknown, kind: ReadKind, value: unknown): void {
    const context = this.#context()
    if (context === undefined) return
    try {
      const location = this.shadow.locate(collection, key)
      if (kind === 'value') this.shadow.note(location, value, context.party)
      this.#read(collection, location, kind, value, context)
    } catch (error) {
      fail(error)
    }
  }

  /** Call it before the write is done. Returns whether it puts back what was deleted in the same turn: an entry that moves to the end. */
  write (collection: Collection, key: unknown, next: NextWrite): boolean {
    const context = this.#context()
    if (context === undefined) return false
    this.#isJudging = true
    try {
      return this.#write(collection, key, next, context)
    } catch (error) {
      fail(error)
      return false
    } finally {
      this.#isJudging = false
    }
  }

  /** Begins to watch an array that is iterated. Returns a function to call before each further step. */
  iterate (collection: Collection, key: unknown): () => void {
    const context = this.#context()
    if (context === undefined) return () => {}
    try {
      return this.#iterate(this.shadow.locate(collection, key), context, new Site(Depth.place, this.iterate))
    } catch (error) {
      fail(error)
      return () => {}
    }
  }

  /** Returns the context of the running code; undefined if nobody looks for races, or the code runs in no context. */
  #context (): Context | undefined {
    return this.#users === 0 || this.#isJudging || hasFailed() ? undefined : currentContext()
  }

  #read (collection: Collection, location: Location, kind: ReadKind, value: unknown, context: Context): void {
    const { party } = context
    const access = context.accessTo(location)
    const turn = currentTurn()
    const last = access.reads.at(-1)
    // The fast path: nobody else can have written since.
    if (last !== undefined && last.turn === turn && last.kind === kind && last.version === location.version) return
    const site = new Site(collection.hasWindows || collection.reads++ < COLD_READS ? Depth.whole : Depth.place, this.read)
    const { write: own } = access
    if (own !== undefined && isBlindSet(own) && kind === 'value' && own.turn < turn && !location.isLww) {
      const other = location.writes.at(-1)
      // By the same code, for another request: what several write in different ways is a structure that they share.
      const isByOther = other !== undefined && other.party !== party && isBlindSet(other) && other.version > own.version && other.site.key === own.site.key
      if (isByOther && !Object.is(own.value, value) && !isShared(value) && (collection.isEarly || !isSetInWays(location, own))) {
        this.reports.add({ kind: 'overwritten', isConfirmed: true, location, read: { party, site }, other, write: own })
      }
    }
    if (kind === 'walk' && access.reset !== undefined && access.reset.turn < turn && !location.isLww) this.#readReset(location, access.reset, party, site)
    rememberRead(access, { kind, version: location.version, turn, order: ++this.#order, site, value, snapshot: snapshotOf(value) })
  }

  /** A list that a context has emptied for itself, and another one since, by the same code: what is in it is that one's. */
  #readReset (location: Location, own: Write, party: Party, site: Site): void {
    const { reset: other } = location
    if (other !== undefined && other.version > own.version && other.party !== party && other.site.key === own.site.key) this.reports.add({ kind: 'overwritten', isConfirmed: true, location, read: { party, site }, other, write: own })
  }

  #write (collection: Collection, key: unknown, written: NextWrite, context: Context): boolean {
    const { party } = context
    const location = this.shadow.locate(collection, key)
    const access = context.accessTo(location)
    const turn = currentTurn()
    const { deleted } = access
    const isBack = written.kind === 'set' && deleted?.turn === turn
    const next = isBack ? { ...written, had: true, before: deleted?.value } : written
    access.deleted = next.kind === 'delete' && next.had ? { turn, value: next.before } : undefined
    let site: Site | undefined
    const here = (): Site => (site ??= new Site(Depth.whole, this.write))
    const how = {
      party,
      turn,
      dependence: (read: Read) => {
        const how = dependenceOf(read.site.frames, here().frames, read.turn < turn)
        const isNothing = read.value === undefined || read.value === null
        return (how === 'data' || how === 'both') && isNothing && isFilledIn(read.site.frames, here().frames) ? 'control' as const : how
      },
      hasReserved: (read: Read) => hasReserved(context, location, read),
      hasWaited: (read: Read, other: Write) => hasWaited(context, read, other),
      // The name of a state after another one; a mark that says that something else was done; what others are refused for, or told of.
      isClaim: (read: Read) => (typeof next.value === 'string' && typeof read.value === 'string' && writesText(here().frames)) ||
        ((isMark(next) || typeof next.value === 'boolean') && context.hasAddedSince(read, location)) ||
        isClaim(read.site.frames, here().frames, { isMark: isMark(next), isTest: typeof read.value !== 'object' }),
      isSame: () => isAlike(next.value, next.before),
      isCompared: (read: Read) => isCompared(read.site.frames, here().frames),
      isComputed: () => !isTime(next.value) && isComputed(here().frames),
      isHandedOn: (read: Read) => isHandedOn(read.site.frames, here().frames),
      isOfPresence: (read: Read) => isOfPresence(read.site.frames, here().frames),
      isRechecked: (read: Read) => isRechecked(read.site.frames, here().frames)
    }
    const [oldest] = access.reads
    if (oldest !== undefined && oldest.turn < turn) collection.hasWindows = true
    let verdict = judge({ location, access: { ...access, reads: [...readsByWalk(collection, key, location, context), ...access.reads] }, next, ...how })
    if ((next.kind === 'set' || next.kind === 'delete') && verdict === undefined) {
      for (const { location, now, isThere } of within(next.before)) {
        const seen = context.seen(location)
        verdict ??= seen && judge({ location, access: seen, next: { kind: 'add', value: next.value, before: now, had: isThere, isEmptied: effectOf(next) === 'empties' }, ...how })
      }
    }
    if (next.kind === 'set' || next.kind === 'delete') this.shadow.note(location, next.value, party, next.before)
    const isAppended = next.isAppended === true
    if (isAppended || isAddition(next, access, turn)) context.noteAddition({ location, turn, order: ++this.#order, isAppended })
    const write = this.#record(location, access, next, site, turn, context)
    if (verdict === undefined) return isBack
    const { kind, isConfirmed, read, other } = verdict
    const report = { kind, isConfirmed, location, read: { party, site: read.site, value: read.value }, other: { ...other }, write: { ...write, site: here() } }
    if (access.deleted === undefined) this.reports.add(report)
    // What is put back in the same turn was not deleted.
    else {
      const own = access.deleted
      queueMicrotask(() => { if (access.deleted === own) attempt(() => this.reports.add(report), undefined) })
    }
    return isBack
  }

  #record (location: Location, access: Access, next: NextWrite, site: Site | undefined, turn: number, { party, locks }: Context): Write {
    const last = location.writes.at(-1)
    location.version++
    // Nobody can have looked since the last write of the same turn: the two are one.
    if (last !== undefined && last.party === party && last.turn === turn && last.kind === next.kind) {
      last.version = location.version
      last.value = next.value
      return last
    }
    const write = {
      kind: next.kind,
      version: location.version,
      turn,
      site: site ?? new Site(Depth.place, this.write),
      party,
      isBlind: access.reads.length === 0,
      value: next.value,
      before: next.before,
      effect: effectOf(next),
      locks: locks.size === 0 ? NO_LOCKS : [...locks.values()]
    }
    rememberWrite(location, write)
    access.write = write
    if (isValueSet(write)) location.first ??= write
    if (next.isEmptied === true && write.isBlind) location.reset = access.reset ??= write
    return write
  }

  #iterate (location: Location, began: Context, site: Site): () => void {
    const { version } = location
    const turn = currentTurn()
    let isOver = location.isLww
    return () => {
      const context = this.#context()
      if (isOver || context !== began || turn === currentTurn()) return
      try {
        const { party } = context
        const shift = location.writes.find((write) => write.version > version && write.kind === 'shift' && write.party !== party)
        if (shift === undefined) return
        isOver = true
        this.reports.add({ kind: 'iteration', isConfirmed: true, location, read: { party, site }, other: shift, write: undefined })
      } catch (error) {
        fail(error)
      }
    }
  }
}

const isBlindSet = ({ kind, isBlind }: Write): boolean => kind === 'set' && isBlind

/** Whether a write has put a value there without a look. Who puts nothing there only clears it. */
const isValueSet = (write: Write): boolean => isBlindSet(write) && write.value !== undefined && write.value !== null

/**
 * Whether a field of an object that a request made is set in several ways: the object is a member of a structure that requests share, and
 * the field says where in it the member is. Whoever joins, leaves or moves others writes such an index of an array or a heap.
 */
function isSetInWays ({ first, writes }: Location, own: Write): boolean {
  return [first, ...writes].some((write) => write !== undefined && isValueSet(write) && write.site.way !== own.site.way)
}

/** Whether several contexts have changed fields of a value: a link of a list, and nothing of one request's own. */
const isShared = (value: unknown): boolean => within(value).some(({ location: { writes } }) => writes.some(({ party }) => party !== writes[0]?.party))

/** Whether what is written only says that something was done: that a member is in a Set, that a flag is up, that a key is gone, when it was. */
const isMark = ({ kind, value, isMark }: NextWrite): boolean => isMark === true || kind === 'delete' || isTime(value)

/** Whether a number is changed by an amount in one turn: `sum += 10`. */
const isAddition = ({ kind, value, before }: NextWrite, { reads }: Access, turn: number): boolean => kind === 'set' && typeof value === 'number' && typeof before === 'number' && value !== before && reads.at(-1)?.turn === turn

/** What the context has seen of an element when it walked through its collection: `slots.indexOf(null)`, and then `slots[index] = name`. */
function readsByWalk ({ locations }: Collection, key: unknown, { writes, version }: Location, context: Context): Read[] {
  const whole = key === WHOLE || !(locations instanceof Map) ? undefined : locations.get(WHOLE)
  const reads = whole === undefined ? undefined : context.seen(whole)?.reads.filter(({ kind }) => kind === 'walk')
  return reads?.map((read): Read => {
    const next = writes.find(({ turn }) => turn > read.turn)
    return { ...read, kind: 'value', version: next === undefined ? version : next.version - 1, value: next?.before }
  }) ?? []
}

/**
 * Whether the context has changed another location in the turn of a read, whose value it read in one statement with the location: `if (balance -
 * reserved < amount)`.
 */
function hasReserved (context: Context, location: Location, { turn, site }: Read): boolean {
  const sites = [site, ...(context.seen(location)?.reads ?? []).filter((read) => read.turn === turn).map((read) => read.site)]
  for (const [other, { reads }] of context.all) {
    if (other === location) continue
    const tested = reads.find((read) => read.turn === turn && sites.some(({ frames }) => isSameStatement(read.site.frames, frames)))
    if (tested !== undefined && other.writes.some(({ party, turn: at, version }) => party === context.party && at === turn && version > tested.version)) return true
  }
  return false
}

/**
 * Whether the read stands in the test of a loop that waits, and either the loop has run its test again since another's write, or the context, when
 * it left the loop, has changed what others wait for: it holds a lock that the application has written itself, and gives it back later.
 */
function hasWaited ({ all, party }: Context, { turn, site }: Read, other: Write): boolean {
  const waits = waitsAround(site.frames)
  if (waits.length === 0) return false
  const turns = new Set([turn])
  for (const [, { reads }] of all) {
    for (const later of reads) {
      if (later.turn > turn && waitsAround(later.site.frames).some(({ loop }) => waits.some((wait) => wait.loop === loop))) turns.add(later.turn)
    }
  }
  if ([...turns].some((again) => again > turn && again >= other.turn)) return true
  for (const [{ name, writes }] of all) {
    if (!writes.some((write) => write.party === party && turns.has(write.turn))) continue
    const [, last = name] = /([\w#$]+)(?:\.(?:get|has)\(.*\)|\[.*\])?$/.exec(name) ?? []
    if (waits.some((wait) => isWaitedFor(wait, last))) return true
  }
  return false
}

/** The fields of an object as they are now. Getters are not called, nor traps of a Proxy: they are the application's code. */
function snapshotOf (value: unknown): Record<string, unknown> | undefined {
  if (typeof value !== 'object' || value === null || types.isProxy(value) || Array.isArray(value) || value instanceof Map || value instanceof Set) return undefined
  const snapshot: Record<string, unknown> = {}
  let fields = 0
  for (const key in value) {
    const field = Object.getOwnPropertyDescriptor(value, key)
    if (field === undefined || !('value' in field)) continue
    if (++fields > MOST_FIELDS) break
    snapshot[key] = field.value
  }
  return snapshot
}

export const detector = new Detector()
