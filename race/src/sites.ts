/** Sites: where in the application's source an access happened. Captured with each access, and formatted only for what may be reported. */
import { dirname, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isPackaged } from './paths.ts'
import { pathOf, sourceByNode, type Place } from './register/maps.ts'
import { originOf, rewrittenOf } from './register/rewritten.ts'

/** A place in what runs. */
export interface Frame extends Place {
  /** The place for people, where it is in another file and the detector hasn't read the module: in the TypeScript of compiled JavaScript. */
  readonly shown?: Place
}

/**
 * How much of a stack is kept. A frame costs half a microsecond, and the stacks are most of what detection costs. The first two frames may be a
 * proxy's own.
 */
export const Depth = {
  /** Enough to find the code that a read and a write have in common. Async callers are part of the stack. */
  whole: 11,
  /** Enough to show the place. */
  place: 4
} as const

/**
 * Puts the stack of the running code on an object, with at most so many frames, as `stack`. The text is made only when it is read.
 *
 * @param above the function whose caller is the first line of the stack
 */
export function captureStack (target: { stack?: string }, frames: number, above: (...args: never[]) => unknown): void {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = frames
  Error.captureStackTrace(target, above)
  Error.stackTraceLimit = stackTraceLimit
}

const folder = `${dirname(fileURLToPath(import.meta.url))}${sep}`

/** The files of the detector itself, which are no part of the application: as they run, and as their source maps name them. */
const folders = [folder, folder.replace(/([\\/])dist([\\/])$/, '$1src$2')]

/** One line of a stack: `at fn (file:1:2)`, `at async fn (file:1:2)`, `at file:1:2`. */
const LINE = /^\s*at (?:.*\()?((?:file:\/\/)?(?:\/?[A-Za-z]:[^():]*|\/[^():]*)):(\d+):(\d+)\)?$/

/**
 * Returns the places of a stack, as what runs has them. The application may map its stacks, by --enable-source-maps or by a function of its own: the
 * mapped place counts where it is in the same file, since such a file was compiled while it was loaded, and what runs is not what is on the disk.
 * A place in another file is for people: the JavaScript on the disk is what runs, and it tells more exactly what is done.
 */
function framesOf (holder: { stack?: string }): Frame[] {
  const own = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace')
  const prepare: unknown = own?.value
  let sites: readonly NodeJS.CallSite[] = []
  let text: unknown
  const value = (error: Error, callSites: readonly NodeJS.CallSite[]): void => {
    sites = callSites
    text = typeof prepare === 'function' ? prepared(prepare, error, callSites) : undefined
  }
  Object.defineProperty(Error, 'prepareStackTrace', { value, configurable: true, writable: true })
  try {
    // The text is made now.
    void holder.stack
  } finally {
    if (own === undefined) Reflect.deleteProperty(Error, 'prepareStackTrace')
    else Object.defineProperty(Error, 'prepareStackTrace', own)
  }
  const lines = typeof text === 'string' ? text.split('\n').filter((line) => /^\s*at /.test(line)) : []
  return sites.flatMap((site, index) => {
    const name = site.getFileName()
    const [line, column] = [site.getLineNumber(), site.getColumnNumber()]
    if (name === null || name === undefined || line === null || column === null || !/^(?:file:|\/|[A-Za-z]:)/.test(name)) return []
    const runs = { file: pathOf(name), line, column }
    if (folders.some((folder) => runs.file.startsWith(folder))) return []
    if (rewrittenOf(runs.file)?.map !== undefined) return [runs]
    const mapped = (lines.length === sites.length ? placeIn(lines[index] ?? '') : undefined) ?? sourceByNode(name, runs)
    return mapped === undefined || mapped.file === runs.file ? [mapped ?? runs] : [{ ...runs, shown: mapped }]
  })
}

/** Calls the application's function that makes the text of a stack, or one of its libraries, which may return anything. */
function prepared (prepare: Function, error: Error, sites: readonly NodeJS.CallSite[]): unknown {
  try {
    return Reflect.apply(prepare, Error, [error, sites]) as unknown
  } catch {
    return undefined
  }
}

function placeIn (text: string): Place | undefined {
  const [, name, line, column] = LINE.exec(text) ?? []
  return name === undefined ? undefined : { file: pathOf(name), line: Number(line), column: Number(column) }
}

const keyOf = (frame: Frame | undefined): string => frame === undefined ? '' : `${frame.file}:${frame.line}:${frame.column}`

export class Site {
  /** An object of its own: the text of a stack begins with the `name` of what holds it. */
  readonly #holder: { stack?: string } = {}
  #frames: readonly Frame[] | undefined

  /** @param above the function that was told of the access: what it calls itself is not kept */
  constructor (depth: number, above: (...args: never[]) => unknown) {
    captureStack(this.#holder, depth, above)
  }

  /** From the inside out: the access itself, its caller, the async function that awaits that. */
  get frames (): readonly Frame[] {
    this.#frames ??= framesOf(this.#holder)
    return this.#frames
  }

  /** The frame to show: the innermost one of the application's own code, or of a package if there is none. */
  get top (): Frame | undefined {
    return this.frames.find(({ file }) => !isPackaged(file)) ?? this.frames[0]
  }

  get name (): string {
    const { top } = this
    if (top === undefined) return 'an unknown place'
    const { file, line, column } = top.shown ?? originOf(top)
    return `${file}:${line}:${column}`
  }

  /** Tells two accesses in the same code from others. */
  get key (): string {
    return keyOf(this.frames[0])
  }

  /** Tells two accesses apart also where one helper of a module makes both: its caller in the module is part of it. */
  get way (): string {
    const [access, caller] = this.frames
    return caller?.file === access?.file ? `${keyOf(access)} ${keyOf(caller)}` : keyOf(access)
  }
}
