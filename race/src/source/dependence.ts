/** Decides, on the source, how a write depends on an earlier read. */
import type * as TypeScript from 'typescript'
import { isPackaged } from '../paths.ts'
import type { Dependence } from '../rule.ts'
import type { Frame } from '../sites.ts'
import { isAssignment, isWithin, Level, namesOf, passedThrough } from './definitions.ts'
import { Flow } from './flow.ts'
import { functionsAround, nodeAt, sourceOf, type Source } from './parse.ts'

type Node = TypeScript.Node

/** A frame and what its position means. */
export interface Place {
  readonly source: Source
  readonly node: Node
  readonly functions: readonly TypeScript.SignatureDeclaration[]
}

/** Frames further out are those of frameworks, or of loops around many requests. */
const MOST_FRAMES = 8

function placeOf (frame: Frame): Place | undefined {
  // What a framework does with the value is no reason of the application's.
  if (isPackaged(frame.file, 'fastify')) return undefined
  const source = sourceOf(frame.file)
  const node = source && nodeAt(source, frame)
  return source && node && { source, node, functions: functionsAround(source, node) }
}

/** @param frames from the inside out */
export const placesOf = (frames: readonly Frame[]): Array<Place | undefined> => frames.slice(0, MOST_FRAMES).map(placeOf)

/** What several ways through the source say together. */
function together (a: Dependence | undefined, b: Dependence): Dependence {
  if (a === undefined || a === b || a === 'independent') return b
  if (b === 'independent' || b === 'unknown') return a
  return a === 'unknown' ? b : 'both'
}

const cache = new Map<string, Dependence>()
const keyOf = (frames: readonly Frame[]): string => frames.slice(0, MOST_FRAMES).map(({ file, line, column }) => `${file}:${line}:${column}`).join()

/**
 * @param read, write frames, from the inside out
 * @param isLater whether the write comes in a later turn than the read
 */
export function dependenceOf (read: readonly Frame[], write: readonly Frame[], isLater: boolean): Dependence {
  const key = `${keyOf(read)}|${keyOf(write)}|${isLater}`
  let result = cache.get(key)
  if (result === undefined) {
    if (cache.size > 10_000) cache.clear()
    cache.set(key, result = decide(placesOf(read), placesOf(write), isLater))
  }
  return result
}

function decide (reads: ReadonlyArray<Place | undefined>, writes: ReadonlyArray<Place | undefined>, isLater: boolean): Dependence {
  let best: Dependence | undefined
  for (const [outer, read] of reads.entries()) {
    for (const [depth, write] of writes.entries()) {
      if (read === undefined || write === undefined || read.source !== write.source) continue
      const scope = read.functions.find((fn) => write.functions.includes(fn))
      if (scope === undefined || (isLater && read.functions[0] === scope && write.functions[0] === scope && !maySuspend(read.source, scope))) continue
      best = together(best, within(scope, reads.slice(0, outer + 1), writes.slice(0, depth + 1)))
    }
  }
  return (best === undefined || best === 'independent' || best === 'unknown') && isRefusedAhead(reads, writes) ? 'control' : best ?? 'unknown'
}

/** Whether a function may go on in a later turn. Otherwise a read and a write of two turns are those of two calls, and the second one has read anew. */
function maySuspend ({ ts }: Source, scope: TypeScript.SignatureDeclaration): boolean {
  const { asteriskToken } = scope as { asteriskToken?: unknown }
  return asteriskToken !== undefined || (ts.canHaveModifiers(scope) && ts.getModifiers(scope)?.some(({ kind }) => kind === ts.SyntaxKind.AsyncKeyword) === true)
}

/** Whether the read stands in a hook that refuses the request because of it, so that the handler runs only if the hook has not. */
function isRefusedAhead (reads: ReadonlyArray<Place | undefined>, writes: ReadonlyArray<Place | undefined>): boolean {
  const outermost = reads.findLastIndex((place) => place !== undefined)
  const place = reads[outermost]
  const scope = place?.functions[0]
  if (place === undefined || scope === undefined || writes.every((write) => write === undefined) || writes.some((write) => write?.functions[0] === scope)) return false
  const carried = carriedOut(reads.slice(0, outermost))
  return carried !== 'unknown' && carried.level !== Level.none && new Flow(place.source, scope, { read: readAround(place), level: carried.level }).refuses
}

/** The frames from the access outwards to one of the function that has both. */
function within (scope: TypeScript.SignatureDeclaration, reads: ReadonlyArray<Place | undefined>, writes: ReadonlyArray<Place | undefined>): Dependence {
  const read = reads.at(-1) as Place
  const write = writes.at(-1) as Place
  const carried = carriedOut(reads.slice(0, -1))
  if (carried === 'unknown') return 'unknown'
  const origin = readAround(read)
  const target = writeAround(write)
  // A function that throws because of what it read is a guard to what comes after its call.
  const guard = carried.exception && isAfter(read.source, origin, target) ? 'control' : 'independent'
  if (carried.level === Level.none) return guard
  const down = together(guard, carriedIn(new Flow(read.source, scope, { read: origin, level: carried.level }), target, writes))
  if (down !== 'independent') return down
  // The value may go from one function to another by way of an object, and come back so.
  const isApart = read.functions[0] !== write.functions[0] && !isWithin(write.node, read.functions[0] as Node)
  return isApart && new Flow(read.source, read.functions[0] as TypeScript.SignatureDeclaration, { read: origin }).escapes ? 'unknown' : 'independent'
}

/** What the functions between the read and the common function pass on. */
function carriedOut (inner: ReadonlyArray<Place | undefined>): { level: Level, exception: boolean } | 'unknown' {
  let level: Level = Level.data
  let exception = false
  for (const place of inner) {
    const scope = place?.functions[0]
    if (place === undefined || scope === undefined) return 'unknown'
    if (level === Level.none) continue
    const flow: Flow = new Flow(place.source, scope, { read: readAround(place), level })
    exception ||= flow.throws
    level = flow.returned
    if (level === Level.none && !exception && flow.escapes) return 'unknown'
  }
  return { level, exception }
}

/** Follows the value from the common function into the functions that it calls, down to the write. */
function carriedIn (outer: Flow, target: Node, writes: ReadonlyArray<Place | undefined>): Dependence {
  let flow = outer
  let at = target
  let isGoverned = false
  for (let depth = writes.length - 1; ; depth--) {
    const { ts } = (writes[depth] as Place).source
    isGoverned ||= flow.governs(at)
    if (depth === 0) {
      const level = Math.max(...valuesOf(ts, at).map((value) => flow.levelOf(value)), Level.none)
      isGoverned ||= level === Level.control || (ts.isBinaryExpression(at) && (isLogicalAssignment(ts, at) ? flow.has(at.left) : flow.has(keyOfTarget(ts, at))))
      if (level === Level.data) return isGoverned ? 'both' : 'data'
      return isGoverned ? 'control' : 'independent'
    }
    const otherwise = isGoverned ? 'control' : undefined
    const next = writes[depth - 1]
    const scope = next?.functions[0]
    if (next === undefined || scope === undefined) return otherwise ?? 'unknown'
    const given = ts.isCallExpression(at) ? at.arguments.map((argument) => flow.levelOf(argument)) : []
    const level = Math.max(...given, Level.none) as Level
    const names = scope.parameters.flatMap(({ name }, index) => level !== Level.none && given[index] === level ? namesOf(next.source.ts, name) : [])
    if (names.length === 0) return otherwise ?? 'independent'
    flow = new Flow(next.source, scope, { names, level })
    at = writeAround(next)
  }
}

/** The expression that reads: `map.get(key)` around `get`, with what only passes it on. */
function readAround ({ source: { ts }, node }: Place): Node {
  let at = node
  for (;;) {
    const { parent } = at
    const isName = (ts.isPropertyAccessExpression(parent) && parent.name === at) || (ts.isElementAccessExpression(parent) && parent.argumentExpression === at)
    const isCallee = (ts.isCallExpression(parent) || ts.isNewExpression(parent)) && parent.expression === at
    if (!isName && !isCallee && !ts.isAwaitExpression(parent) && !ts.isParenthesizedExpression(parent)) return at
    at = parent
  }
}

/** The expression that writes: the assignment around its left side, or the call around what is called. */
export function writeAround ({ source: { ts }, node }: Place): Node {
  // The place of an async caller is that of its await.
  if (ts.isAwaitExpression(node) && ts.isCallExpression(node.expression)) return node.expression
  for (let at = node; at.parent !== undefined && !ts.isFunctionLike(at); at = at.parent) {
    if (isAssignment(ts, at.parent) && at.parent.left === at && (ts.isArrayLiteralExpression(at) || ts.isObjectLiteralExpression(at))) return at.parent
  }
  for (let at = node; at.parent !== undefined && !ts.isFunctionLike(at); at = at.parent) {
    const { parent } = at
    // V8 names the place of the operator; a source map, that of the left side.
    if (isAssignment(ts, parent) && (parent.left === at || parent.operatorToken === at)) return parent
    if ((ts.isPrefixUnaryExpression(parent) || ts.isPostfixUnaryExpression(parent)) || ts.isDeleteExpression(parent)) return parent
    if (ts.isCallExpression(parent) && parent.expression === at) return parent
    if (ts.isStatement(parent)) break
  }
  return ts.isExpressionStatement(node.parent) ? node.parent.expression : node
}

/** What the value written is made of. With `+=` that is also what was there, which is read before the right side is run. */
export function valuesOf (ts: Source['ts'], write: Node): Node[] {
  const passed = passedThrough(ts, write)
  if (passed !== undefined) return [passed]
  if (ts.isCallExpression(write)) return [...write.arguments]
  if (!ts.isBinaryExpression(write)) return [write]
  const right = passedThrough(ts, write.right) ?? write.right
  return write.operatorToken.kind === ts.SyntaxKind.EqualsToken || isLogicalAssignment(ts, write) ? [right] : [write.left, right]
}

/** Returns `index` of `slots[index] = name`: what was read may decide where something is written. */
function keyOfTarget (ts: Source['ts'], { left }: TypeScript.BinaryExpression): Node | undefined {
  return ts.isElementAccessExpression(left) ? left.argumentExpression : undefined
}

/** `??=` writes if what it reads says so. */
function isLogicalAssignment (ts: Source['ts'], { operatorToken: { kind } }: TypeScript.BinaryExpression): boolean {
  const { AmpersandAmpersandEqualsToken, BarBarEqualsToken, QuestionQuestionEqualsToken } = ts.SyntaxKind
  return kind === AmpersandAmpersandEqualsToken || kind === BarBarEqualsToken || kind === QuestionQuestionEqualsToken
}

/** Whether the write comes after the statement of the read, which may have thrown. */
function isAfter ({ ts }: Source, read: Node, write: Node): boolean {
  let statement = read
  while (!ts.isStatement(statement) && statement.parent !== undefined) statement = statement.parent
  return write.pos >= statement.end
}

/** A function that has both a read and a write, or the calls that lead to them. */
export interface Common {
  readonly source: Source
  readonly scope: TypeScript.SignatureDeclaration
  /** How what was read flows in the function. */
  readonly flow: Flow
  /** The read, or the call that leads to it. */
  readonly origin: Node
  /** The write, or the call that leads to it. */
  readonly target: Node
}

/** Returns each function that a read and a write have in common. */
export function commonPlaces (reads: ReadonlyArray<Place | undefined>, writes: ReadonlyArray<Place | undefined>): Common[] {
  return reads.flatMap((read) => writes.flatMap((write): Common[] => {
    if (read === undefined || write === undefined || read.source !== write.source) return []
    const scope = read.functions.find((fn) => write.functions.includes(fn))
    if (scope === undefined) return []
    const origin = readAround(read)
    return [{ source: read.source, scope, flow: new Flow(read.source, scope, { read: origin }), origin, target: writeAround(write) }]
  }))
}

/** Whether two accesses stand in one statement. Its blocks are statements of their own. */
export function isSameStatement ([a]: readonly Frame[], [b]: readonly Frame[]): boolean {
  const statements = [a, b].map((frame) => {
    const place = frame && placeOf(frame)
    let at = place?.node
    while (at !== undefined && !place?.source.ts.isStatement(at)) at = at.parent
    return at
  })
  return statements[0] !== undefined && statements[0] === statements[1]
}

/** Whether the value written is a text literal of the source. */
export function writesText ([frame]: readonly Frame[]): boolean {
  const place = frame && placeOf(frame)
  const value = place && valuesOf(place.source.ts, writeAround(place)).at(-1)
  return place !== undefined && value !== undefined && place.source.ts.isStringLiteralLike(value)
}
