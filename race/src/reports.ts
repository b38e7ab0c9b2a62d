/** Reports: each race once, as text for people and as an object for programs, and what becomes of the process. */
import { conclude, isHalting, isRequested, print } from './environment.ts'
import { attempt } from './failure.ts'
import { isTime } from './proxies/alike.ts'
import type { Location, Party, Write } from './shadow.ts'
import type { Site } from './sites.ts'

/** As Go's race detector exits. */
export const EXIT_CODE = 66

export type RaceKind = 'lost update' | 'check then act' | 'stale write' | 'overwritten' | 'iteration'

/** A race between two contexts. */
export interface RaceReport {
  readonly kind: RaceKind
  /** Whether the source and the values prove it. One that is only possible never fails a run. */
  readonly isConfirmed: boolean
  /** The state, by its name: `sessions.get("a")`. */
  readonly location: string
  /** The report as it is printed. */
  readonly text: string
}

/** @internal */
export interface Found {
  readonly kind: RaceKind
  readonly isConfirmed: boolean
  readonly location: Location
  readonly read: { readonly party: Party, readonly site: Site, readonly value?: unknown }
  readonly other: Write
  /** The write that rests on the read; none if an array was shifted while it was iterated. */
  readonly write: Write | undefined
}

/**
 * @param owner the server of the app where the race was found
 * @param key the same for each report of a race: of the same places in the source
 */
type Listener = (report: RaceReport, owner: object, key: string) => void

/** Sites that differ without end, in generated code say, must not fill the memory. */
const MOST = 1_000

export class Reports {
  readonly #seen = new Set<string>()
  readonly #listeners = new Set<Listener>()
  confirmed = 0
  #isExitHooked = false

  /** Calls `listener` with each report. Returns a function that removes the listener. */
  onReport (listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /** @internal */
  add (found: Found): void {
    const report = { kind: found.kind, isConfirmed: found.isConfirmed, location: found.location.name, text: textOf(found) }
    const key = [found.kind, found.read.site.key, found.write?.site.key, found.other.site.key].join()
    for (const listener of this.#listeners) listener(report, found.read.party.owner, key)
    if (this.#silent > 0) return
    if (this.#seen.has(key) || this.#seen.size >= MOST) return
    this.#seen.add(key)
    if (report.isConfirmed) this.confirm(1)
    print(report.text)
    if (report.isConfirmed && isHalting()) process.exit(EXIT_CODE)
  }

  #silent = 0

  /** Gives reports to listeners only, and prints none, until the returned function is called. */
  silence (): () => void {
    this.#silent++
    return () => { this.#silent-- }
  }

  /** Counts races that were confirmed: with RACE=1 the process exits with 66, whoever catches the error that tells of them. */
  confirm (count: number): void {
    this.confirmed += count
    if (this.#isExitHooked || !isRequested()) return
    this.#isExitHooked = true
    process.prependOnceListener('exit', (code) => {
      if (code === 0) {
        process.exitCode = EXIT_CODE
        // A listener of the application that calls process.exit(0) would end the process at once, with that.
        const internal = process as unknown as { reallyExit: (code?: number) => never }
        const { reallyExit } = internal
        internal.reallyExit = (code) => reallyExit.call(process, code === undefined || code === 0 ? EXIT_CODE : code)
      }
      attempt(() => conclude(`RACE: found ${this.confirmed} race${this.confirmed === 1 ? '' : 's'}`), undefined)
    })
  }
}

const column = (label: string, { party, site }: { readonly party: Party, readonly site: Site }, note: string): string => `  ${label.padEnd(12)} ${party.name}  ${site.name}${note}`

function locksOf ({ locks }: Write): string {
  return locks.length === 0 ? 'no lock held' : `held ${locks.join(', ')}`
}

function textOf (found: Found): string {
  const { kind, isConfirmed, location, read, other, write } = found
  const lines = [`WARNING: RACE ${isConfirmed ? '' : '(possible) '}${kind} on ${location.name}`]
  if (write === undefined) {
    lines.push(column('iterated by', read, ''))
    lines.push(column('shifted by', other, `   (${locksOf(other)})`))
  } else if (kind === 'overwritten') {
    lines.push(column('written by', write, ''))
    lines.push(column('overwritten', other, `   (version ${other.version}, ${locksOf(other)})`))
    lines.push(column('then read by', read, ''))
  } else {
    lines.push(column('written by', write, `   (${locksOf(write)})`))
    lines.push(column('after a read', read, '   (stale)'))
    lines.push(column(kind === 'lost update' ? 'overwrote' : 'unaware of', other, `   (version ${other.version}, ${locksOf(other)})`))
  }
  if (!isConfirmed) lines.push('  possible     the source doesn\'t tell whether the write rests on the read, so this report fails no run')
  lines.push(`  fix: ${fixOf(found)}`)
  return lines.join('\n')
}

function fixOf (found: Found): string {
  const { kind, location: { name } } = found
  if (kind === 'overwritten') return 'keep the value in the request (request.decorate, a local variable), not in state that requests share'
  if (kind === 'iteration') return 'iterate over a copy, or hold a lock while you iterate'
  const lock = `hold app.locks.mutex(${lockFor(name)}) of fastify-concurrency/locks from the read to the write`
  return `${adviceOf(found)}, or ${lock}`
}

/** What to do without a lock. To read again would silence the report of a stale fill, and keep the stale value. */
function adviceOf ({ kind, read, write }: Found): string {
  const isFilled = write?.kind === 'set' && isNothing(read.value) && !isNothing(write.value) && write.value !== true && !isTime(write.value)
  if (kind === 'check then act' && isFilled) {
    return 'two may load it: keep the promise of the one load; if others delete or replace it meanwhile, compare a generation after the await; if any writer may win: shared(…, { lww: true })'
  }
  if (kind === 'check then act') return 'check and claim in one turn, before the first await, and take the claim back if the work fails'
  if (typeof read.value === 'number' || typeof write?.value === 'number') return 'change it in one expression after the last await (`+=`, `++`)'
  return 'read again after the last await'
}

const isNothing = (value: unknown): boolean => value === undefined || value === null || value === false

/** The key of a lock for a location, as source: one for each entry of a collection, which `key` stands for. */
function lockFor (name: string): string {
  const [, collection] = /^(.+?)(?:\.get\(|\.has\(|\[)/.exec(name) ?? []
  return collection === undefined ? JSON.stringify(name) : `\`${collection}:\${key}\``
}
