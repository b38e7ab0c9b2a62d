/**
 * The source of a frame, parsed. The parser is the application's own TypeScript, an optional peer: it reads JavaScript too, and is loaded
 * here only, when the first accesses are to be judged. What can't be parsed is said once.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type * as TypeScript from 'typescript'
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
const said = new Set<string>()

function sayOnce (what: string): void {
  if (said.has(what)) return
  said.add(what)
  process.emitWarning(`the race detector ${what}: it can't tell which writes depend on which reads there, so what it finds is only possible`)
}

let parser: Ts | null | undefined

/** Returns TypeScript as this package or the application finds it; null if there is none with an API that parses. */
export function loadParser (): Ts | null {
  if (parser !== undefined) return parser
  parser = null
  for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
    try {
      const found = createRequire(from)('typescript') as Partial<Ts>
      if (typeof found.createSourceFile === 'function') {
        parser = found as Ts
        return parser
      }
    } catch {}
  }
  sayOnce('has no parser (npm install --save-dev typescript@6)')
  return parser
}

/** Returns undefined for a file that isn't there or can't be parsed. */
export function sourceOf (path: string): Source | undefined {
  if (files.has(path)) return files.get(path)
  const ts = loadParser()
  if (ts === null) return undefined
  let source: Source | undefined
  try {
    const file = ts.createSourceFile(path, rewrittenOf(path)?.text ?? readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
    const { parseDiagnostics = [] } = file as { parseDiagnostics?: unknown[] }
    if (parseDiagnostics.length === 0) source = { ts, file }
  } catch {}
  if (source === undefined) sayOnce(`can't parse ${path}`)
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
