/** What a piece of source does to a variable or a field: reads it, writes it, or changes what is within. */
import type * as TypeScript from 'typescript'
import type { Ts } from '../source/parse.ts'

type Node = TypeScript.Node

/** Methods that change an array, a Map or a Set. */
const changing = new Set(['push', 'pop', 'shift', 'unshift', 'splice', 'sort', 'reverse', 'fill', 'copyWithin', 'set', 'add', 'delete', 'clear'])

/** Functions that change their first argument. */
const changingFirst = new Set(['Object.assign', 'Object.defineProperty', 'Object.defineProperties', 'Object.setPrototypeOf', 'Reflect.set', 'Reflect.deleteProperty', 'Reflect.defineProperty'])

/** Returns the expression without what only TypeScript sees, and without parentheses. */
export function bare (ts: Ts, node: Node): Node {
  return isBare(ts, node) ? bare(ts, node.expression) : node
}

function isBare (ts: Ts, node: Node): node is Node & { expression: Node } {
  return ts.isAsExpression(node) || ts.isSatisfiesExpression(node) || ts.isParenthesizedExpression(node) || ts.isTypeAssertionExpression(node) || ts.isNonNullExpression(node)
}

export function isMapOrSet (ts: Ts, node: Node): boolean {
  return ts.isNewExpression(node) && ts.isIdentifier(node.expression) && ['Map', 'Set', 'WeakMap', 'WeakSet'].includes(node.expression.text)
}

export function isCollection (ts: Ts, node: Node): boolean {
  const value = bare(ts, node)
  return ts.isArrayLiteralExpression(value) || isMapOrSet(ts, value)
}

/** Whether the expression makes a collection or an object, other than a constant one. */
export function isLiteral (ts: Ts, node: Node): boolean {
  return isCollection(ts, node) || (ts.isObjectLiteralExpression(bare(ts, node)) && !(ts.isAsExpression(node) && node.type.getText() === 'const'))
}

export function isAssignmentToken (ts: Ts, kind: TypeScript.SyntaxKind): boolean {
  return kind >= ts.SyntaxKind.FirstAssignment && kind <= ts.SyntaxKind.LastAssignment
}

export function isUpdate (ts: Ts, { operator }: TypeScript.PrefixUnaryExpression | TypeScript.PostfixUnaryExpression): boolean {
  return operator === ts.SyntaxKind.PlusPlusToken || operator === ts.SyntaxKind.MinusMinusToken
}

/** Returns the expression with the parentheses around it, and with what only TypeScript sees: `(count as number)` of `(count as number)++`. */
export function dressed (ts: Ts, node: Node): Node {
  return isBare(ts, node.parent) ? dressed(ts, node.parent) : node
}

export function isWrite (ts: Ts, use: Node): boolean {
  const target = dressed(ts, use)
  const { parent } = target
  if ((ts.isPrefixUnaryExpression(parent) || ts.isPostfixUnaryExpression(parent)) && isUpdate(ts, parent)) return true
  return (ts.isBinaryExpression(parent) && parent.left === target && isAssignmentToken(ts, parent.operatorToken.kind)) || isInPattern(ts, use)
}

/** Whether something within the value is changed by way of this use: `state.a.b = 1`, `delete list[0]`, `queue.push(x)`. */
export function isChanged (ts: Ts, use: Node): boolean {
  let at = use
  let isWithin = false
  for (let { parent } = use; isBare(ts, parent) || ((ts.isPropertyAccessExpression(parent) || ts.isElementAccessExpression(parent)) && parent.expression === at); { parent } = at) {
    if (!isBare(ts, parent)) isWithin = true
    at = parent
  }
  const { parent } = at
  // Object.assign(state, { n: 1 }): the first argument is changed.
  if (ts.isCallExpression(parent) && parent.arguments[0] === at && changingFirst.has(parent.expression.getText())) return true
  if (!isWithin) return false
  if (ts.isCallExpression(parent) && parent.expression === at) {
    const method = bare(ts, at)
    return ts.isPropertyAccessExpression(method) && changing.has(method.name.text)
  }
  return ts.isDeleteExpression(parent) || isWrite(ts, at)
}

/** Whether a field of the value is named in the source, and not called: `state.a` of `state.a.b = 1`. */
export function isNamed (ts: Ts, use: Node): boolean {
  const at = dressed(ts, use)
  return ts.isPropertyAccessExpression(at.parent) && at.parent.expression === at && !(ts.isCallExpression(at.parent.parent) && at.parent.parent.expression === at.parent)
}

/** Whether the node is assigned to by a pattern or a loop: `a` of `[a] = list`, `({ key: a = 1, ...rest } = object)`, `for (a of list)`. */
export function isInPattern (ts: Ts, node: Node): boolean {
  for (let at = node; ; at = at.parent) {
    const { parent } = at
    if (ts.isForOfStatement(parent) || ts.isForInStatement(parent)) return parent.initializer === at
    if (ts.isBinaryExpression(parent)) {
      if (parent.left !== at || !isAssignmentToken(ts, parent.operatorToken.kind)) return false
      if (ts.isArrayLiteralExpression(at) || ts.isObjectLiteralExpression(at)) return true
      // A default, if this stands in a pattern itself.
    } else if (ts.isPropertyAssignment(parent)) {
      if (parent.initializer !== at) return false
    } else if (ts.isShorthandPropertyAssignment(parent)) {
      if (parent.name !== at) return false
    } else if (!ts.isObjectLiteralExpression(parent) && !ts.isArrayLiteralExpression(parent) && !ts.isSpreadElement(parent) && !ts.isSpreadAssignment(parent) &&
      !isBare(ts, parent)) return false
  }
}

/** Methods that run a function in another place, a browser's page, where nothing of this process exists. */
const elsewhere = new Set(['evaluate', 'evaluateAll', 'evaluateHandle', 'waitForFunction', 'addInitScript', '$eval', '$$eval'])

export function runsElsewhere (ts: Ts, node: Node): boolean {
  const { parent } = node
  return ts.isFunctionLike(node) && ts.isCallExpression(parent) && ts.isPropertyAccessExpression(parent.expression) && elsewhere.has(parent.expression.name.text)
}

/** Whether the node is called, or constructed, or continues as a longer optional chain. */
export function isCalledOrChained (ts: Ts, access: Node): boolean {
  // (object.method)() has `this` all the same.
  const node = dressed(ts, access)
  const { parent } = node
  if (ts.isTaggedTemplateExpression(parent)) return parent.tag === node
  if (ts.isJsxOpeningLikeElement(parent) || ts.isJsxClosingElement(parent)) return true
  if (!('expression' in parent) || parent.expression !== node) return false
  return ts.isCallExpression(parent) || ts.isNewExpression(parent) || ts.isDeleteExpression(parent) || ts.isExpressionWithTypeArguments(parent) || ts.isDecorator(parent) ||
    (ts.isOptionalChain(node) && ts.isOptionalChain(parent))
}

/** Whether the node begins what is constructed, which ends at the first call: `app.models` of `new app.models.User()`. */
export function isInNew (ts: Ts, access: Node): boolean {
  const node = dressed(ts, access)
  const { parent } = node
  if (node !== access && ts.isParenthesizedExpression(access.parent)) return false
  if (ts.isNewExpression(parent)) return parent.expression === node
  return (ts.isPropertyAccessExpression(parent) || ts.isElementAccessExpression(parent) || ts.isTaggedTemplateExpression(parent)) &&
    !ts.isTaggedTemplateExpression(parent) && parent.expression === node && isInNew(ts, parent)
}

/** Whether two values are compared that may both be objects. */
export function comparesObjects (ts: Ts, node: Node): node is TypeScript.BinaryExpression {
  if (!ts.isBinaryExpression(node)) return false
  const { EqualsEqualsToken, EqualsEqualsEqualsToken, ExclamationEqualsToken, ExclamationEqualsEqualsToken } = ts.SyntaxKind
  return [EqualsEqualsToken, EqualsEqualsEqualsToken, ExclamationEqualsToken, ExclamationEqualsEqualsToken].includes(node.operatorToken.kind as never) && !isPrimitive(ts, node.left) && !isPrimitive(ts, node.right)
}

/** Whether the expression is seen to be no object. */
export function isPrimitive (ts: Ts, node: Node): boolean {
  const { NullKeyword, TrueKeyword, FalseKeyword } = ts.SyntaxKind
  return ts.isLiteralExpression(node) || ts.isTypeOfExpression(node) || ts.isPrefixUnaryExpression(node) || ts.isTemplateExpression(node) ||
    [NullKeyword, TrueKeyword, FalseKeyword].includes(node.kind as never) || (ts.isIdentifier(node) && node.text === 'undefined')
}

/** Whether the expression is `this`, a variable, or a field of such a path: reading it twice does no more than reading it once. */
export function isPath (ts: Ts, dressed: Node): boolean {
  const node = bare(ts, dressed)
  if (ts.isPropertyAccessExpression(node)) return node.questionDotToken === undefined && isPath(ts, node.expression)
  return ts.isIdentifier(node) || node.kind === ts.SyntaxKind.ThisKeyword
}

/** Returns a path as JavaScript has it, on one line: `this.count` for `(this as Counter).count!`. */
export function pathOf (ts: Ts, dressed: Node): string {
  const node = bare(ts, dressed)
  if (ts.isPropertyAccessExpression(node)) return `${pathOf(ts, node.expression)}${node.questionDotToken === undefined ? '.' : '?.'}${node.name.text}`
  return ts.isIdentifier(node) ? node.text : 'this'
}

export function isNameless (ts: Ts, node: Node): boolean {
  return ts.isArrowFunction(node) || ((ts.isFunctionExpression(node) || ts.isClassExpression(node)) && node.name === undefined)
}
