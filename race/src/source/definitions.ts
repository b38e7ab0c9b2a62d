/** The definitions of variables in a function: where each gets a value, and how much of the value in question is in it. */
import type * as TypeScript from 'typescript'
import type { Source } from './parse.ts'

type Node = TypeScript.Node
type Ts = Source['ts']

/** How much of a value is in an expression: nothing; only that it was chosen by a test of the value; or the value itself. */
export const Level = { none: 0, control: 1, data: 2 } as const
export type Level = typeof Level[keyof typeof Level]

/** Where a variable, or a field of it (`order.total`), gets a value. */
export interface Definition {
  readonly name: string
  /** The declaration, assignment or call. */
  readonly at: Node
  /** What it is made of. */
  readonly from: Node | undefined
  /** Nothing of what was there before is left. */
  readonly replaces: boolean
  level: Level
}

export function isWithin (inner: Node, outer: Node): boolean {
  return outer.pos <= inner.pos && inner.end <= outer.end
}

export function isAssignment (ts: Ts, node: Node): node is TypeScript.BinaryExpression {
  return ts.isBinaryExpression(node) && node.operatorToken.kind >= ts.SyntaxKind.FirstAssignment && node.operatorToken.kind <= ts.SyntaxKind.LastAssignment
}

export function isLogical (ts: Ts, kind: TypeScript.SyntaxKind): boolean {
  const { AmpersandAmpersandToken, BarBarToken, QuestionQuestionToken } = ts.SyntaxKind
  return [AmpersandAmpersandToken, BarBarToken, QuestionQuestionToken].includes(kind as never)
}

/**
 * Returns the value in a call of what rewrites modules (register/runtime.ts): `n` in `$$race.read(cell, n)`. Its other arguments name the place.
 * Returns undefined for any other node.
 */
export function passedThrough (ts: Ts, node: Node): Node | undefined {
  const name = runtimeCallOf(ts, node)
  if (name === undefined) return undefined
  const { arguments: [first, second] } = node as TypeScript.CallExpression
  // $$race.read($$race.of($$race.hold(a.b), "a.b.c"), $$race.held().c) is made of a.b.
  const held = name === 'read' && first !== undefined && runtimeCallOf(ts, first) === 'of' ? (first as TypeScript.CallExpression).arguments[0] : undefined
  if (held !== undefined && runtimeCallOf(ts, held) === 'hold') return heldBy(held)
  return name === 'read' || name === 'write' ? second : first
}

function runtimeCallOf (ts: Ts, node: Node): string | undefined {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return undefined
  const { expression, name } = node.expression
  return ts.isIdentifier(expression) && expression.text === '$$race' ? name.text : undefined
}

/** Returns `a.b` of `$$race.hold(a.b)`. */
const heldBy = (call: Node): Node | undefined => (call as TypeScript.CallExpression).arguments[0]

/** Returns the call that tells of the read of one field: `$$race.note(a, "a.b")` for b in `const { b, c } = ($$race.note(a, "a.b"), $$race.note(a, "a.c"), a)`. */
function noteOf (ts: Ts, initializer: Node | undefined, field: string): Node | undefined {
  if (initializer === undefined) return undefined
  let note: Node | undefined
  const visit = (node: Node): void => {
    if (runtimeCallOf(ts, node) === 'note' && (node as TypeScript.CallExpression).arguments[1]?.getText().endsWith(`.${field}"`) === true) note = node
    else if (ts.isParenthesizedExpression(node) || ts.isBinaryExpression(node)) ts.forEachChild(node, visit)
  }
  visit(initializer)
  return note
}

/** Returns the object behind the notes of a pattern's reads. */
function behindNotes (ts: Ts, initializer: Node | undefined): Node | undefined {
  if (initializer === undefined || !ts.isParenthesizedExpression(initializer) || !ts.isBinaryExpression(initializer.expression)) return initializer
  const { left, right } = initializer.expression
  const first = ts.isBinaryExpression(left) ? left.right : left
  if (runtimeCallOf(ts, first) !== 'note') return initializer
  return runtimeCallOf(ts, right) === 'held' ? heldBy((first as TypeScript.CallExpression).arguments[0] as Node) : right
}

/** Returns `a`, or `a.b` for a field; undefined for what isn't a variable. */
export function pathOf (ts: Ts, node: Node): string | undefined {
  if (ts.isIdentifier(node)) return node.text
  if (runtimeCallOf(ts, node) === 'hold') return pathOf(ts, heldBy(node) as Node)
  if (ts.isNonNullExpression(node) || ts.isParenthesizedExpression(node) || ts.isAsExpression(node)) return pathOf(ts, node.expression)
  if (!ts.isPropertyAccessExpression(node) && !ts.isElementAccessExpression(node)) return undefined
  const base = pathOf(ts, node.expression)
  if (base === undefined || base.includes('.')) return base
  return ts.isPropertyAccessExpression(node) ? `${base}.${node.name.text}` : `${base}.*`
}

/** The variables of a name or a pattern. */
export function namesOf (ts: Ts, name: Node): string[] {
  if (ts.isIdentifier(name)) return [name.text]
  const names: string[] = []
  ts.forEachChild(name, (child) => {
    if (ts.isBindingElement(child)) names.push(...namesOf(ts, child.name))
    else if (ts.isShorthandPropertyAssignment(child)) names.push(child.name.text)
    else if (ts.isPropertyAssignment(child)) names.push(...namesOf(ts, child.initializer))
    else if (ts.isIdentifier(child)) names.push(child.text)
  })
  return names
}

/** The field from which a pattern takes a variable. */
function fieldFor (ts: Ts, pattern: TypeScript.ObjectBindingPattern, variable: string): string {
  const element = pattern.elements.find(({ name }) => namesOf(ts, name).includes(variable))
  return (element?.propertyName ?? element?.name)?.getText() ?? variable
}

/** Finds all definitions in a function, in the order of the source. */
export function definitionsIn (ts: Ts, scope: Node): Definition[] {
  const found: Definition[] = []
  const add = (name: string | undefined, at: Node, from: Node | undefined, replaces: boolean): void => {
    if (name !== undefined) found.push({ name, at, from, replaces, level: Level.none })
  }
  const locals = new Set<string>()
  const visit = (node: Node): void => {
    if (ts.isVariableDeclaration(node)) {
      for (const name of namesOf(ts, node.name)) {
        locals.add(name)
        const list = node.parent.parent
        const note = ts.isObjectBindingPattern(node.name) ? noteOf(ts, node.initializer, fieldFor(ts, node.name, name)) : undefined
        if (note !== undefined) add(name, node, note, true)
        add(name, node, ts.isForOfStatement(list) || ts.isForInStatement(list) ? list.expression : behindNotes(ts, node.initializer), note === undefined)
      }
    } else if (isAssignment(ts, node)) {
      const isPattern = ts.isObjectLiteralExpression(node.left) || ts.isArrayLiteralExpression(node.left)
      const names = isPattern ? namesOf(ts, node.left) : [pathOf(ts, node.left)]
      for (const name of names) add(name, node, node.right, node.operatorToken.kind === ts.SyntaxKind.EqualsToken && name?.endsWith('.*') !== true)
    } else if (ts.isCallExpression(node)) {
      // Callbacks of a call that has the value get it: rows.map((row) => …), store.get(id, (error, value) => …).
      for (const argument of node.arguments) {
        if (!ts.isFunctionLike(argument)) continue
        for (const { name } of argument.parameters) for (const each of namesOf(ts, name)) add(each, argument, node.expression, true)
      }
      // list.push(value), map.set(key, value): a variable of this function holds the value from then on.
      if (ts.isPropertyAccessExpression(node.expression) && ts.isIdentifier(node.expression.expression) && locals.has(node.expression.expression.text)) {
        for (const argument of node.arguments) if (!ts.isFunctionLike(argument)) add(node.expression.expression.text, node, argument, false)
      }
    }
    ts.forEachChild(node, visit)
  }
  if (ts.isFunctionLike(scope)) for (const { name } of scope.parameters) for (const each of namesOf(ts, name)) add(each, scope, undefined, true)
  visit(scope)
  return found
}

/** Whether the definition is in force wherever the use is: its block is around the use. */
export function dominates (ts: Ts, definition: Node, use: Node): boolean {
  let block = definition
  while (block.parent !== undefined && !ts.isBlock(block) && !ts.isSourceFile(block) && !ts.isCaseOrDefaultClause(block) && !ts.isFunctionLike(block)) {
    const { parent } = block
    // What stands in a branch of an expression or of an if without braces may not have run.
    if ((ts.isConditionalExpression(parent) && block !== parent.condition) || (ts.isIfStatement(parent) && block !== parent.expression)) return isWithin(use, block)
    if (ts.isBinaryExpression(parent) && isLogical(ts, parent.operatorToken.kind) && block === parent.right) return isWithin(use, block)
    block = parent
  }
  return isWithin(use, block)
}
