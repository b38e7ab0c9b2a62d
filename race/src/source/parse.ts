/**
 * The source of a frame, parsed. The parser is the application's own TypeScript, an optional peer: it reads JavaScript too, and is loaded
 * here only. What can't be parsed is said once.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type * as TypeScript from 'typescript'
import { RaceUnreadableError } from '../errors.ts'
import { sayOnce } from '../environment.ts'
import { isPackaged } from '../paths.ts'
import { rewrittenOf } from '../register/rewritten.ts'
import type { Frame } from '../sites.ts'

export type Ts = typeof TypeScript

export interface Source {
  readonly ts: Ts
  readonly file: TypeScript.SourceFile
}

/** How many files are kept parsed. */
const MOST_FILES = 500

const files = new Map<string, Source | undefined>()

const sayPossible = (why: string): void => sayOnce(`the race detector can't tell which writes depend on which reads, so what it finds is only possible: ${why}`)

/**
 * Packages that parse as TypeScript 5 and 6 do. TypeScript 7 has no such API. A project that builds with it needs another package beside it, and
 * @ts-morph/common is the one that brings no `tsc` of its own, which would take the place of the project's.
 */
const PARSERS = ['typescript', '@ts-morph/common', '@typescript/typescript6']

let parser: Ts | null | undefined
/** The version of a TypeScript that is there and doesn't parse. */
let unfit: string | undefined

/** Returns a parser as this package or the application finds it; null if there is none. */
export function loadParser (): Ts | null {
  if (parser !== undefined) return parser
  for (const name of PARSERS) {
    for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
      try {
        const found = createRequire(from)(name) as Partial<Ts> & { ts?: Ts }
        const ts = found.ts ?? found
        if (typeof ts.createSourceFile === 'function') return (parser = ts as Ts)
        unfit ??= ts.version
      } catch {}
    }
  }
  return (parser = null)
}

function missing (): string {
  return unfit === undefined
    ? 'it needs TypeScript 5 or 6, and found none. Run: npm install --save-dev typescript@6'
    : `it needs the API of TypeScript 5 or 6, which ${unfit} doesn't have. Run: npm install --save-dev @ts-morph/common, which brings TypeScript 6 beside yours; or install typescript@6`
}

/** @throws RaceUnreadableError if there is no parser: nothing would be confirmed, and a run would pass for that alone */
export function requireParser (): void {
  if (loadParser() === null) throw new RaceUnreadableError(missing())
}

/** TypeScript takes `object?.#field` for an error, and reads it as JavaScript does. */
const ALLOWED = new Set([18030])

/** Returns why a source can't be parsed; undefined if it can. */
export function defectOf (ts: Ts, file: TypeScript.SourceFile): string | undefined {
  const { parseDiagnostics = [] } = file as { parseDiagnostics?: ReadonlyArray<{ code: number, start?: number, messageText: string | { messageText: string } }> }
  const defect = parseDiagnostics.find(({ code }) => !ALLOWED.has(code))
  if (defect === undefined) return undefined
  const { messageText: text, start = 0 } = defect
  return `${typeof text === 'string' ? text : text.messageText} (line ${ts.getLineAndCharacterOfPosition(file, start).line + 1})`
}

/** Returns undefined for a file that isn't there or can't be parsed. */
export function sourceOf (path: string): Source | undefined {
  if (files.has(path)) return files.get(path)
  const ts = loadParser()
  if (ts === null) {
    sayPossible(missing())
    return undefined
  }
  let source: Source | undefined
  try {
    const file = ts.createSourceFile(path, rewrittenOf(path)?.text ?? readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
    if (defectOf(ts, file) === undefined) source = { ts, file }
  } catch {}
  // Nobody can mend a package's file. The sources that a source map names may not be there.
  if (source === undefined && !isPackaged(path)) sayPossible(`it can't parse ${path}`)
  if (files.size >= MOST_FILES) files.clear()
  files.set(path, source)
  return source
}

/** Returns the innermost node at a frame's position, or undefined if the position isn't in the file. */
export function nodeAt ({ ts, file }: Source, { line, column }: Frame): TypeScript.Node | undefined {
  const starts = file.getLineStarts()
  const start = starts[line - 1]
  if (start === undefined || column < 1 || start + column - 1 > (starts[line] ?? file.end)) return undefined
  const position = start + column - 1
  let node: TypeScript.Node = file
  for (;;) {
    const inner: TypeScript.Node | undefined = ts.forEachChild(node, (child) => child.getStart(file) <= position && position < child.end ? child : undefined)
    if (inner === undefined) return node === file ? undefined : node
    node = inner
  }
}

/** The functions around a node, the innermost first. A module is none. */
export function functionsAround ({ ts }: Source, node: TypeScript.Node): TypeScript.SignatureDeclaration[] {
  const found: TypeScript.SignatureDeclaration[] = []
  for (let at: TypeScript.Node | undefined = node; at !== undefined; at = at.parent) {
    if (ts.isFunctionLike(at) && 'body' in at) found.push(at)
  }
  return found
}
