/**
 * Checks a rewritten module before it runs in place of the user's own: a mistake of the rewriting must not end an application. The parser alone
 * accepts what an engine refuses, an assignment to the result of a call, and what an engine fails at later, a name that nothing declares.
 */
import type * as TypeScript from 'typescript'
import { defectOf, type Ts } from '../source/parse.ts'
import { bare, isAssignmentToken, isUpdate } from './syntax.ts'

type Node = TypeScript.Node

/** Names that the rewriting adds. */
const ADDED = /^\$\$(?:race|race_\d+|value|object)$/

/** Returns why the rewritten module may not run as the source does; undefined if nothing is known against it. */
export function mistakeIn (ts: Ts, rewritten: TypeScript.SourceFile, source: TypeScript.SourceFile): string | undefined {
  const defect = defectOf(ts, rewritten)
  if (defect !== undefined) return defect
  const names = new Set<string>()
  each(ts, source, (node) => { if (ts.isIdentifier(node)) names.add(node.text) })
  /** Where the cells of variables are declared. */
  const homes = new Map<string, Node>()
  each(ts, rewritten, (node) => { if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name) && isCell(node.name)) homes.set(node.name.text, homeOf(ts, node)) })
  let mistake: string | undefined
  each(ts, rewritten, (node) => {
    if (mistake !== undefined) return
    const what = isNew(ts, node, names) ? 'a name that the source does not have' : !isInReach(ts, node, homes) ? 'a variable of another scope' : isWrongTarget(ts, node) ? 'an assignment to something that is no variable and no field' : undefined
    if (what !== undefined) mistake = `${what}: ${node.getText(rewritten)} (line ${rewritten.getLineAndCharacterOfPosition(node.getStart(rewritten)).line + 1})`
  })
  return mistake
}

function each (ts: Ts, node: Node, see: (node: Node) => void): void {
  see(node)
  ts.forEachChild(node, (child) => each(ts, child, see))
}

function isCell (name: TypeScript.Identifier): boolean {
  return name.text.startsWith('$$race_')
}

/** The node in which a `var` lives. */
function homeOf (ts: Ts, node: Node): Node {
  let at = node.parent
  while (!ts.isSourceFile(at) && !ts.isFunctionLike(at) && !ts.isModuleBlock(at) && !ts.isClassStaticBlockDeclaration(at)) at = at.parent
  return at
}

/** Whether two tokens have become one: `return` and `$$race`. */
function isNew (ts: Ts, node: Node, names: ReadonlySet<string>): boolean {
  return ts.isIdentifier(node) && !names.has(node.text) && !ADDED.test(node.text) && !(ts.isPropertyAccessExpression(node.parent) && node.parent.name === node)
}

function isInReach (ts: Ts, node: Node, homes: ReadonlyMap<string, Node>): boolean {
  if (!ts.isIdentifier(node) || !isCell(node)) return true
  const home = homes.get(node.text)
  let at: Node | undefined = node
  while (at !== undefined && at !== home) at = at.parent as Node | undefined
  return at !== undefined
}

function isWrongTarget (ts: Ts, node: Node): boolean {
  if ((ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) && isUpdate(ts, node)) return !isPlace(ts, bare(ts, node.operand))
  if (!ts.isBinaryExpression(node) || !isAssignmentToken(ts, node.operatorToken.kind)) return false
  const target = bare(ts, node.left)
  return !isPlace(ts, target) && !ts.isArrayLiteralExpression(target) && !ts.isObjectLiteralExpression(target)
}

function isPlace (ts: Ts, node: Node): boolean {
  return ts.isIdentifier(node) || ts.isPropertyAccessExpression(node) || ts.isElementAccessExpression(node)
}
