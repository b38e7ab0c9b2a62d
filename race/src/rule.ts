/**
 * The rule: a context writes what depends on a value that another context has changed since it was read. Pure; it asks the source how the
 * write depends on the read only if all else speaks for a race.
 */
import { isDeepStrictEqual, types } from 'node:util'
import { isOfWhole, type Access, type Effect, type Location, type Party, type Read, type Write, type WriteKind } from './shadow.ts'

/**
 * How a write depends on a read: the value read flows into the value written; the write stands under a test of it; it doesn't; or the source
 * doesn't tell.
 */
export type Dependence = 'data' | 'control' | 'both' | 'independent' | 'unknown'

export interface Verdict {
  readonly kind: 'lost update' | 'check then act' | 'stale write'
  /** A race that is only possible never fails a run. */
  readonly isConfirmed: boolean
  readonly read: Read
  /** The write of the other context that this one overwrites or doesn't know of. */
  readonly other: Write
}

/** A location within a value that is replaced, and what is there now. Who replaces the value must have seen what others changed in it. */
export interface Inner {
  readonly location: Location
  readonly now: unknown
  readonly isThere: boolean
}

/** A write that is about to happen. */
export interface NextWrite {
  readonly kind: WriteKind
  readonly value: unknown
  /** What is there now. */
  readonly before: unknown
  readonly had: boolean
  /** What is written only says that something is there: the membership of a Set. */
  readonly isMark?: boolean
  /** It is an element of a list, so it is there once more if it is written once more. */
  readonly isAppended?: boolean
  /** Nothing is left in the whole. */
  readonly isEmptied?: boolean
}

export interface RuleInput {
  readonly location: Location
  readonly access: Access
  readonly party: Party
  readonly turn: number
  readonly next: NextWrite
  readonly dependence: (read: Read) => Dependence
  /** Whether the context, on the same test, has changed something else in the turn of the read: a reservation that others see. */
  readonly hasReserved: (read: Read) => boolean
  /** Whether the read was made while the context waited for a lock that the application has written itself, and has it since or looked again. */
  readonly hasWaited: (read: Read, other: Write) => boolean
  /** Whether what is written does the same for those who use it as what is there. */
  readonly isSame: () => boolean
  /** Whether the write claims something for its request alone. What is no claim may be written by several, if they write the same. */
  readonly isClaim: (read: Read) => boolean
  /** Whether what is written was computed or fetched: it is no mark. */
  readonly isComputed: () => boolean
  /** Whether what was read was handed to an operation that has ended since: a batch that was sent. */
  readonly isHandedOn: (read: Read) => boolean
  /** Whether only the presence of what was read was tested. */
  readonly isOfPresence: (read: Read) => boolean
  /** Whether something else was compared with what it was before the last await: a version, a generation. */
  readonly isCompared: (read: Read) => boolean
  /** Whether something else was tested after the last await, so that the write may rest on that: the number of a generation. */
  readonly isRechecked: (read: Read) => boolean
}

/** Whether a write of another context matters to a read that this context's next write may rest on. */
function conflicts (read: Read, other: Write, next: NextWrite): boolean {
  if (!isOfWhole(read)) return true
  // What is added disturbs neither who removes by place nor who sets: only who adds, since there may be room or need for one only.
  return other.kind === 'shift' || (other.kind === 'add' && (next.kind === 'add' || next.isEmptied === true || next.kind === 'clear'))
}

/** Whether what was read is so again, or still: then nothing was lost. */
function holdsAgain (read: Read, next: NextWrite): boolean {
  if (read.kind === 'has') return read.value === next.had
  if (isOfWhole(read)) return typeof read.value === 'number' && read.value === next.before
  return Object.is(read.value, next.before)
}

export function judge ({ location, access, party, turn, next, dependence, hasReserved, hasWaited, isSame, isClaim, isCompared, isComputed, isHandedOn, isOfPresence, isRechecked }: RuleInput): Verdict | undefined {
  if (location.isLww) return undefined
  const othersSince = (read: Read): Write[] => location.writes.filter((write) =>
    write.version > read.version && write.party !== party && conflicts(read, write, next))
  for (const read of access.reads) {
    if (read.turn >= turn) continue
    const other = othersSince(read).at(-1)
    if (other === undefined) continue
    const isAgain = holdsAgain(read, next)
    if (isAgain && !isInvalidated(location, read, other, next, isComputed)) continue
    const fresh = access.reads.filter((later) => later.version >= other.version && othersSince(later).length === 0)
    // It was read again by the same code: a retry loop.
    if (fresh.some((later) => later.site.key === read.site.key)) continue
    const how = dependence(read)
    if (how === 'independent' || how === 'unknown') {
      if (fresh.length === 0 && isDrained(read, next, othersSince(read)) && isHandedOn(read)) return { kind: 'lost update', isConfirmed: true, read, other }
      if (how === 'independent') continue
    }
    if (isAgain && (how !== 'control' || isRechecked(read))) continue
    const isData = how === 'data' || how === 'both'
    const governing = fresh.map(dependence)
    // What was read again governs. But fresh data under a stale test is check-then-act.
    if (governing.some((again) => again === 'control' || again === 'both' || (how !== 'control' && again === 'data'))) continue
    // What is gone can't be lost, whatever says that it is to go.
    if (next.kind === 'delete' && !next.had && !isClaim(read)) continue
    if (how === 'control') {
      if (isClaimed(location, party, read) || hasReserved(read) || isCompared(read) || hasWaited(read, other)) continue
      if (isFill(next, isSame) && !isClaim(read)) continue
      if (isThere(read.value) && isThere(next.before) && isOfPresence(read)) continue
    }
    const isConfirmed = how !== 'unknown' || putsBack(read, next)
    return { kind: isData ? 'lost update' : how === 'control' ? 'check then act' : 'stale write', isConfirmed, read, other }
  }
  return undefined
}

const isThere = (value: unknown): boolean => typeof value === 'object' && value !== null

/**
 * Whether another request has said meanwhile that what there may be is no longer right, by deleting what was not there: what is loaded into
 * a cache then may be older than that. Who takes away what it has put there itself says nothing of the kind, nor who evicts what is there.
 */
function isInvalidated ({ writes }: Location, { kind, value }: Read, other: Write, next: NextWrite, isComputed: () => boolean): boolean {
  return kind !== 'size' && kind !== 'walk' && (value === undefined || value === null || value === false) && next.kind === 'set' &&
    other.effect === 'empties' && (other.before === undefined || other.before === null) && !writes.some(({ party, effect }) => party === other.party && effect !== 'empties') &&
    (isThere(next.value) || (['number', 'string'].includes(typeof next.value) && isComputed()))
}

/** Whether the write leaves nothing of what was there, also of what others have added since the read. */
function isDrained (read: Read, next: NextWrite, others: readonly Write[]): boolean {
  return effectOf(next) === 'empties' && read.kind !== 'has' && others.some(({ effect }) => effect === 'adds')
}

/** What a write does to what was there. */
export function effectOf ({ kind, value, before, isEmptied }: NextWrite): Effect {
  if (kind === 'add') return isEmptied === true ? 'empties' : 'adds'
  if (kind === 'delete' || kind === 'clear' || isEmptied === true) return 'empties'
  if (kind !== 'set') return 'other'
  return isEmpty(value) ? 'empties' : typeof value === 'number' && typeof before === 'number' && value !== before ? 'adds' : 'other'
}

function isEmpty (value: unknown): boolean {
  if (value === undefined || value === null || value === 0 || value === '' || value === false) return true
  if (types.isMap(value) || types.isSet(value)) return Reflect.get(types.isMap(value) ? Map.prototype : Set.prototype, 'size', value) === 0
  return Array.isArray(value) ? value.length === 0 : typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype && Object.keys(value).length === 0
}

/** Whether the context has acted on the test at once, by a write in the same turn: a later write, to take that back, doesn't rest on the test. */
function isClaimed (location: Location, party: Party, read: Read): boolean {
  const own = location.writes.find((write) => write.version > read.version && write.party === party && write.turn === read.turn)
  return own !== undefined
}

/** Whether the write leaves everything as it is: several callers have filled a cache with the same. */
function isFill ({ kind, had }: NextWrite, isSame: () => boolean): boolean {
  return kind === 'delete' ? !had : kind === 'set' && had && isSame()
}

/** Whether the write puts back fields as they were read, which another context has changed since. */
function putsBack ({ snapshot, value: stale }: Read, { value, before }: NextWrite): boolean {
  // The very object that was read is no earlier version of itself: a link that is put back into its list.
  if (typeof value === 'object' && value === stale) return false
  const was = snapshot ?? fieldsOf(stale)
  const is = fieldsOf(before)
  const willBe = fieldsOf(value)
  if (was === undefined || is === undefined || willBe === undefined) return false
  return Object.keys({ ...was, ...is }).some((key) => isData(is[key]) && isData(was[key]) && !isDeepStrictEqual(is[key], was[key]) && isDeepStrictEqual(willBe[key], was[key]))
}

/** Whether a value is data: no instance of a class, which has an identity, so that another one is no earlier version of it. */
function isData (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  return !types.isProxy(value) && [Object.prototype, Array.prototype, null].includes(Object.getPrototypeOf(value) as object | null)
}

/** The fields of an object, or of the JSON text of one. */
function fieldsOf (value: unknown): Readonly<Record<string, unknown>> | undefined {
  try {
    const object: unknown = typeof value === 'string' && value.startsWith('{') ? JSON.parse(value) : value
    return typeof object === 'object' && object !== null && !types.isProxy(object) ? object as Record<string, unknown> : undefined
  } catch {
    return undefined
  }
}
