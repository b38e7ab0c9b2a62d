/** Source maps: that of a module that a compiler has made, and the one of the module that runs in its place. */
import { readFileSync } from 'node:fs'
import { findSourceMap, SourceMap } from 'node:module'
import { dirname, isAbsolute, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Edit } from './edits.ts'

/** A place in a file. Lines and columns count from 1. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** A source map, version 3. */
interface Payload {
  readonly version: number
  readonly sources: readonly string[]
  readonly sourceRoot?: string
  readonly mappings: string
}

export interface ModuleMap {
  readonly payload: Payload
  /** The file that holds the map, or the module itself: the sources are named from there. */
  readonly file: string
}

/** As Node reads it: the last one counts. */
const COMMENT = /^[ \t]*\/\/[#@][ \t]*sourceMappingURL=(\S+)[ \t]*$/gm
const DATA = /^data:application\/json[^,]*?(;base64)?,(.*)$/

/** Returns the source map that a module names, and the comment that names it; undefined if there is none that can be read. */
export function mapOf (file: string, source: string): { map: ModuleMap, comment: string } | undefined {
  const [comment, url] = [...source.matchAll(COMMENT)].at(-1) ?? []
  if (comment === undefined || url === undefined) return undefined
  try {
    const [, base64, data] = DATA.exec(url) ?? []
    const at = data === undefined ? resolve(dirname(file), decodeURI(url)) : file
    const text = data === undefined ? readFileSync(at, 'utf8') : base64 === undefined ? decodeURIComponent(data) : Buffer.from(data, 'base64').toString('utf8')
    const payload = JSON.parse(text) as Payload
    // A map of sections is none that compilers of single modules write.
    return typeof payload.mappings === 'string' && Array.isArray(payload.sources) ? { map: { payload, file: at }, comment } : undefined
  } catch {
    return undefined
  }
}

const parsed = new WeakMap<ModuleMap, SourceMap>()

/** Returns where a place of a compiled module comes from; undefined if the map doesn't say. */
export function sourceIn (map: ModuleMap, place: Place): Place | undefined {
  let sourceMap = parsed.get(map)
  if (sourceMap === undefined) parsed.set(map, sourceMap = new SourceMap(map.payload as never))
  return entryIn(sourceMap, place, (source) => sourceFile(map, source))
}

/** Returns where Node's source maps say that a place comes from; undefined if there is no map, or they are off. @param name as a stack has it */
export function sourceByNode (name: string, place: Place): Place | undefined {
  const sourceMap = findSourceMap(name)
  return sourceMap && entryIn(sourceMap, place, pathOf)
}

function entryIn (sourceMap: SourceMap, { line, column }: Place, fileOf: (source: string) => string): Place | undefined {
  const entry = sourceMap.findEntry(line - 1, column - 1)
  return 'originalLine' in entry ? { file: fileOf(entry.originalSource), line: entry.originalLine + 1, column: entry.originalColumn + 1 } : undefined
}

/** Returns the path of a source, or its name if that is no path: `webpack://app/src/app.ts`. */
function sourceFile ({ payload: { sourceRoot = '' }, file }: ModuleMap, source: string): string {
  // Some versions of Node put the root before the source, and some don't.
  const name = sourceRoot === '' || source.startsWith(sourceRoot) || isAbsolute(source) ? source : `${sourceRoot.replace(/\/$/, '')}/${source}`
  return URL.canParse(name, pathToFileURL(file).href) ? pathOf(new URL(name, pathToFileURL(file)).href) : name
}

/** Returns the path of a file that is named by a path or by a URL. */
export function pathOf (name: string): string {
  if (!name.startsWith('file:')) return name
  try {
    return fileURLToPath(name.replace(/[?#].*/, ''))
  } catch {
    return name
  }
}

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

/** Reads the numbers of a segment: base 64, the least significant five bits first, and the sign in the lowest bit. */
function decoded (segment: string): number[] {
  const numbers: number[] = []
  let [value, shift] = [0, 0]
  for (const digit of segment) {
    const bits = DIGITS.indexOf(digit)
    value |= (bits & 31) << shift
    shift += 5
    if ((bits & 32) !== 0) continue
    numbers.push((value & 1) === 0 ? value >>> 1 : -(value >>> 1))
    value = shift = 0
  }
  return numbers
}

function encoded (number: number): string {
  let rest = number < 0 ? (-number << 1) | 1 : number << 1
  let text = ''
  do {
    const bits = rest & 31
    rest >>>= 5
    text += DIGITS.charAt(rest > 0 ? bits | 32 : bits)
  } while (rest > 0)
  return text
}

/** Returns where each line of a text begins. */
function startsOf (text: string): number[] {
  const starts = [0]
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}

/**
 * Returns the comment with the source map of a module that was rewritten: the columns are those of the text that runs. Without it, the stacks of
 * the application's own errors would have wrong columns, or would name what a compiler has made.
 *
 * @param source the module before it was rewritten into `text`
 */
export function mapComment (map: ModuleMap, source: string, text: string, edits: readonly Edit[]): string {
  const [before, after] = [startsOf(source), startsOf(text)]
  let [next, added] = [0, 0]
  /** Moves an offset in the source to where it is in the text. Offsets come in ascending order. */
  const moved = (offset: number): number => {
    for (let edit = edits[next]; edit !== undefined && edit.end <= offset; edit = edits[++next]) added += edit.text.length - (edit.end - edit.start)
    const edit = edits[next]
    return edit === undefined || offset < edit.start ? offset + added : edit.start + added + Math.min(offset - edit.start, edit.text.length)
  }
  const mappings = map.payload.mappings.split(';').map((line, index) => {
    let [column, written] = [0, 0]
    return line.split(',').filter((segment) => segment !== '').map((segment) => {
      const [step = 0, ...rest] = decoded(segment)
      column += step
      const from = written
      written = Math.max(from, moved((before[index] ?? source.length) + column) - (after[index] ?? text.length))
      return [written - from, ...rest].map(encoded).join('')
    }).join(',')
  }).join(';')
  // The sources are named from the module, and no longer from the file that held the map.
  const { sourceRoot: _, ...others } = map.payload
  const sources = map.payload.sources.map((source) => {
    const path = sourceFile(map, source)
    return isAbsolute(path) ? pathToFileURL(path).href : path
  })
  return `//# sourceMappingURL=data:application/json;base64,${Buffer.from(JSON.stringify({ ...others, sources, mappings })).toString('base64')}`
}
