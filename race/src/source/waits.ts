/**
 * Loops that wait until a test fails: `while (writing || waiting.some(isWriter)) await turn()`. Locks that are written by hand consist of them. What
 * comes after such a loop rests on the last time that its test was run, whichever part of the test decided then.
 */
import type * as TypeScript from 'typescript'
import type { Frame } from '../sites.ts'
import { isWithin } from './definitions.ts'
import { placesOf } from './dependence.ts'
import type { Source, Ts } from './parse.ts'

type Node = TypeScript.Node
type Loop = TypeScript.WhileStatement | TypeScript.DoStatement

/** A loop that waits, and where it is. */
export interface Wait {
  readonly source: Source
  readonly loop: Loop
}

/** Returns the loops that wait in whose tests an access stands, itself or by a function that the test calls. */
export function waitsAround (frames: readonly Frame[]): Wait[] {
  return placesOf(frames).flatMap((place): Wait[] => {
    if (place === undefined) return []
    const { source, node } = place
    for (let at = node; !source.ts.isFunctionLike(at) && at.parent !== undefined; at = at.parent) {
      if (isWait(source.ts, at) && isWithin(node, at.expression)) return [{ source, loop: at }]
    }
    return []
  })
}

function isWait (ts: Ts, node: Node): node is Loop {
  return (ts.isWhileStatement(node) || ts.isDoStatement(node)) && [node.statement, node.expression].some((part) => some(ts, part, (each) => ts.isAwaitExpression(each)))
}

const tested = new WeakMap<TypeScript.SourceFile, Set<string>>()

/** Whether some loop that waits, in the same file, tests what has this name: whoever changes it lets others wait. */
export function isWaitedFor ({ source: { ts, file } }: Wait, name: string): boolean {
  let names = tested.get(file)
  if (names === undefined) tested.set(file, names = namesTested(ts, file))
  return names.has(name)
}

/** Returns the names in the tests of all loops that wait, and in the functions that the tests call by name. */
function namesTested (ts: Ts, file: TypeScript.SourceFile): Set<string> {
  const names = new Set<string>()
  const note = (node: Node): void => { some(ts, node, (each) => { if (ts.isIdentifier(each) || ts.isPrivateIdentifier(each)) names.add(each.text); return false }, true) }
  some(ts, file, (node) => { if (isWait(ts, node)) note(node.expression); return false }, true)
  const called = new Set(names)
  some(ts, file, (node) => {
    const { name, body } = node as { name?: Node, body?: Node }
    if (ts.isFunctionLike(node) && body !== undefined && name !== undefined && (ts.isIdentifier(name) || ts.isPrivateIdentifier(name)) && called.has(name.text)) note(body)
    return false
  }, true)
  return names
}

function some (ts: Ts, node: Node, holds: (node: Node) => boolean, isDeep = false): boolean {
  return holds(node) || (ts.forEachChild(node, (child) => ((isDeep || !ts.isFunctionLike(child)) && some(ts, child, holds, isDeep)) || undefined) ?? false)
}
