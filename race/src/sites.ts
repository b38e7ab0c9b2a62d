/** Sites: where in the application's source an access happened. Captured with each access, and formatted only for what may be reported. */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { originOf } from './register/rewritten.ts'

export interface Frame {
  readonly file: string
  readonly line: number
  readonly column: number
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

const folder = `${dirname(fileURLToPath(import.meta.url))}/`

/** The files of the detector itself, which are no part of the application: as they run, and as their source maps name them. */
const own = [folder, folder.replace(/\/dist\/$/, '/src/')]

/** One line of a stack: `at fn (file:1:2)`, `at async fn (file:1:2)`, `at file:1:2`. */
const LINE = /^\s*at (?:.*\()?(?:file:\/\/)?(\/[^():]*|[A-Za-z]:[^():]*):(\d+):(\d+)\)?$/

/** @param stack what Error.prepareStackTrace made of it, if the application has one: it may be no text */
function parse (stack: unknown): Frame[] {
  const frames: Frame[] = []
  if (typeof stack !== 'string') return frames
  for (const text of stack.split('\n')) {
    const [, path, line, column] = LINE.exec(text) ?? []
    if (path === undefined) continue
    const file = decoded(path.replace(/\?.*/, ''))
    if (!own.some((folder) => file.startsWith(folder))) frames.push({ file, line: Number(line), column: Number(column) })
  }
  return frames
}

/** A path of a file is no URL, and may hold any `%`. */
function decoded (path: string): string {
  try {
    return decodeURI(path)
  } catch {
    return path
  }
}

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
    this.#frames ??= parse(this.#holder.stack)
    return this.#frames
  }

  /** The frame to show: the innermost one of the application's own code, or of a package if there is none. */
  get top (): Frame | undefined {
    return this.frames.find(({ file }) => !file.includes('/node_modules/')) ?? this.frames[0]
  }

  get name (): string {
    const { top } = this
    if (top === undefined) return 'an unknown place'
    const { file, line, column } = originOf(top)
    return `${file}:${line}:${column}`
  }

  /** Tells two accesses in the same code from others. */
  get key (): string {
    const [frame] = this.frames
    return frame === undefined ? '' : `${frame.file}:${frame.line}:${frame.column}`
  }
}
