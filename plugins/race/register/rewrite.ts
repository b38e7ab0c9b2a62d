/**
 * Rewrites a module so that the detector sees the state in it: literals that functions share are tracked where they are made, and variables
 * that functions share and change tell of each use. Lines stay where they are.
 */
import type * as TypeScript from 'typescript'
import type { Ts } from '../source/parse.ts'
import type { Edit } from './rewritten.ts'
import { functionOf, usesOf } from './scopes.ts'

type Node = TypeScript.Node

/** Methods that change an array. */
const changing = new Set(['push', 'pop', 'shift', 'unshift', 'splice', 'sort', 'reverse', 'fill', 'copyWithin'])

export interface Rewrite {
  text: string
  edits: Edit[]
}

/** Returns undefined if there is nothing to track, or the source can't be parsed. */
export function rewrite (ts: Ts, path: string, source: string): Rewrite | undefined {
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true)
  const { parseDiagnostics = [] } = file as { parseDiagnostics?: unknown[] }
  if (parseDiagnostics.length > 0) return undefined
  const edits: Edit[] = []
  let cells = 0
  const insert = (at: number, text: string): void => { edits.push({ start: at, end: at, text }) }
  const wrap = (node: Node, name: string): void => {
    insert(node.getStart(file), '$$race.shared(')
    insert(node.end, `, ${JSON.stringify(name)})`)
  }
  const visit = (node: Node): void => {
    if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name)) variable(node, node.name.text)
    // State of an instance: fields of classes, what a constructor puts on `this`, what an app is decorated with.
    else if (ts.isPropertyDeclaration(node) && node.initializer !== undefined && isCollection(ts, node.initializer)) wrap(node.initializer, node.name.getText(file))
    else if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken && ts.isPropertyAccessExpression(node.left) &&
      node.left.expression.kind === ts.SyntaxKind.ThisKeyword && isCollection(ts, node.right)) wrap(node.right, node.left.getText(file))
    else if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression) && node.expression.name.text === 'decorate') decoration(node)
    ts.forEachChild(node, visit)
  }
  const decoration = ({ arguments: [name, value] }: TypeScript.CallExpression): void => {
    if (name !== undefined && value !== undefined && ts.isStringLiteralLike(name) && isLiteral(ts, value)) wrap(value, name.text)
  }
  const variable = (node: TypeScript.VariableDeclaration, name: string): void => {
    const statement = node.parent.parent
    if (!ts.isVariableStatement(statement)) return
    const uses = usesOf(ts, node, name)
    const isExported = statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true
    const isCaptured = isExported || uses.some((use) => functionOf(ts, use) !== functionOf(ts, node))
    if (!isCaptured) return
    const { initializer } = node
    if (initializer !== undefined && isLiteral(ts, initializer) && (isExported || isCollection(ts, initializer) || uses.some((use) => isChanged(ts, use)))) wrap(initializer, name)
    const writes = uses.filter((use) => isWrite(ts, use))
    if (!writes.some((use) => functionOf(ts, use) !== functionOf(ts, node))) return
    const cell = `$$race_${cells++}`
    insert(statement.getStart(file), `var ${cell}=$$race.cell(${JSON.stringify(name)});`)
    for (const use of uses) accessOf(use, name, cell)
  }
  const accessOf = (use: TypeScript.Identifier, name: string, cell: string): void => {
    const { parent } = use
    const read = `$$race.read(${cell}, ${name})`
    if (ts.isBinaryExpression(parent) && parent.left === use && isAssignmentToken(ts, parent.operatorToken.kind)) {
      const { operatorToken: token, right } = parent
      const operator = token.getText(file).slice(0, -1)
      if (operator === '') {
        insert(right.getStart(file), `$$race.write(${cell}, `)
        insert(right.end, `, ${name})`)
      } else if (['??', '||', '&&'].includes(operator)) {
        edits.push({ start: token.getStart(file), end: token.end, text: `= ${read} ${operator} (${name} = $$race.write(${cell},` })
        insert(right.end, `, ${name}))`)
      } else {
        edits.push({ start: token.getStart(file), end: token.end, text: `= $$race.write(${cell}, ${read} ${operator} (` })
        insert(right.end, `), ${name})`)
      }
    } else if (ts.isPrefixUnaryExpression(parent) || ts.isPostfixUnaryExpression(parent)) {
      if (!isUpdate(ts, parent)) {
        edits.push({ start: use.getStart(file), end: use.end, text: read })
        return
      }
      const by = parent.operator === ts.SyntaxKind.PlusPlusToken ? '+' : '-'
      const changed = `${name} = $$race.write(${cell}, ${read} ${by} 1, ${name})`
      const isUsed = !ts.isExpressionStatement(parent.parent)
      const text = !isUsed ? changed : ts.isPrefixUnaryExpression(parent) ? `(${changed})` : `((${changed}) ${by === '+' ? '-' : '+'} 1)`
      edits.push({ start: parent.getStart(file), end: parent.end, text })
    } else if (ts.isShorthandPropertyAssignment(parent)) {
      if (!isTarget(ts, parent.parent)) insert(use.end, `: ${read}`)
    } else if (!isTarget(ts, use)) {
      edits.push({ start: use.getStart(file), end: use.end, text: ts.isNewExpression(parent) && parent.expression === use ? `(${read})` : read })
    }
  }
  visit(file)
  if (edits.length === 0) return undefined
  // Insertions at one place stay in the order in which they were made.
  edits.sort((a, b) => a.start - b.start || a.end - b.end)
  let text = ''
  let at = 0
  for (const edit of edits) {
    text += source.slice(at, edit.start) + edit.text
    at = edit.end
  }
  return { text: text + source.slice(at), edits }
}

function bare (ts: Ts, node: Node): Node {
  return ts.isAsExpression(node) || ts.isSatisfiesExpression(node) || ts.isParenthesizedExpression(node) || ts.isTypeAssertionExpression(node) ? bare(ts, node.expression) : node
}

function isCollection (ts: Ts, node: Node): boolean {
  const value = bare(ts, node)
  return ts.isArrayLiteralExpression(value) || (ts.isNewExpression(value) && ts.isIdentifier(value.expression) && ['Map', 'Set'].includes(value.expression.text))
}

function isLiteral (ts: Ts, node: Node): boolean {
  return isCollection(ts, node) || (ts.isObjectLiteralExpression(bare(ts, node)) && !(ts.isAsExpression(node) && node.type.getText() === 'const'))
}

function isAssignmentToken (ts: Ts, kind: TypeScript.SyntaxKind): boolean {
  return kind >= ts.SyntaxKind.FirstAssignment && kind <= ts.SyntaxKind.LastAssignment
}

function isUpdate (ts: Ts, { operator }: TypeScript.PrefixUnaryExpression | TypeScript.PostfixUnaryExpression): boolean {
  return operator === ts.SyntaxKind.PlusPlusToken || operator === ts.SyntaxKind.MinusMinusToken
}

function isWrite (ts: Ts, use: Node): boolean {
  const { parent } = use
  if (ts.isBinaryExpression(parent)) return parent.left === use && isAssignmentToken(ts, parent.operatorToken.kind)
  return (ts.isPrefixUnaryExpression(parent) || ts.isPostfixUnaryExpression(parent)) && isUpdate(ts, parent)
}

/** Whether something within the value is changed by way of this use: `state.a.b = 1`, `delete list[0]`, `queue.push(x)`. */
function isChanged (ts: Ts, use: Node): boolean {
  let at = use
  while ((ts.isPropertyAccessExpression(at.parent) || ts.isElementAccessExpression(at.parent) || ts.isNonNullExpression(at.parent)) && at.parent.expression === at) at = at.parent
  if (at === use) return false
  const { parent } = at
  if (ts.isCallExpression(parent) && parent.expression === at) return ts.isPropertyAccessExpression(at) && (changing.has(at.name.text) || ['set', 'add', 'delete', 'clear'].includes(at.name.text))
  return ts.isDeleteExpression(parent) || isWrite(ts, at)
}

/** Whether the node is assigned to, in a pattern or by a loop. */
function isTarget (ts: Ts, node: Node): boolean {
  for (let at = node; ts.isExpression(at) || ts.isPropertyAssignment(at) || ts.isSpreadAssignment(at); at = at.parent) {
    const { parent } = at
    if (ts.isBinaryExpression(parent)) return parent.left === at && isAssignmentToken(ts, parent.operatorToken.kind)
    if (ts.isForOfStatement(parent) || ts.isForInStatement(parent)) return parent.initializer === at
    if (!ts.isObjectLiteralExpression(parent) && !ts.isArrayLiteralExpression(parent) && !ts.isPropertyAssignment(parent)) return false
  }
  return false
}
