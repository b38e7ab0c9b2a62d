/** Which identifiers mean which variable. */
import type * as TypeScript from 'typescript'
import type { Ts } from '../source/parse.ts'

type Node = TypeScript.Node

/** What declares a variable. */
export type Variable = TypeScript.VariableDeclaration | TypeScript.BindingElement | TypeScript.ParameterDeclaration | TypeScript.ImportSpecifier

/** The node in which a variable lives: a block for let and const; a function, the block of a namespace, a static block or the file for var. */
export function scopeOf (ts: Ts, declaration: Variable): Node {
  const isBlockScoped = (ts.getCombinedNodeFlags(declaration) & ts.NodeFlags.BlockScoped) !== 0
  let scope: Node = declaration.parent
  while (scope.parent !== undefined && !ts.isSourceFile(scope)) {
    if (ts.isFunctionLike(scope) || ts.isModuleBlock(scope) || ts.isClassStaticBlockDeclaration(scope) || (isBlockScoped && (ts.isBlock(scope) || ts.isCaseBlock(scope) || ts.isIterationStatement(scope, false)))) break
    scope = scope.parent
  }
  return scope
}

/** The innermost function around a node; undefined at the top of a module. */
export function functionOf (ts: Ts, node: Node): Node | undefined {
  let at: Node | undefined = node.parent
  while (at !== undefined && !ts.isFunctionLike(at) && !ts.isClassStaticBlockDeclaration(at) && !ts.isPropertyDeclaration(at)) at = at.parent
  return at
}

export function isConstructor (ts: Ts, node: Node | undefined): boolean {
  return node !== undefined && ts.isConstructorDeclaration(node)
}

/** Whether a scope declares the name itself, so that the name means another variable in it. */
function declares (ts: Ts, scope: Node, name: string): boolean {
  let isDeclared = false
  const visit = (node: Node): void => {
    if (isDeclared) return
    if ((ts.isVariableDeclaration(node) || ts.isParameter(node) || ts.isBindingElement(node) || ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node)) &&
      node.name !== undefined && ts.isIdentifier(node.name) && node.name.text === name) isDeclared = true
    if (node !== scope && ts.isFunctionLike(node)) return
    ts.forEachChild(node, visit)
  }
  visit(scope)
  return isDeclared
}

/** The uses of a variable in expressions. */
export function usesOf (ts: Ts, declaration: Variable, name: string): TypeScript.Identifier[] {
  const scope = scopeOf(ts, declaration)
  const uses: TypeScript.Identifier[] = []
  const visit = (node: Node): void => {
    if (node !== scope && ts.isFunctionLike(node) && declares(ts, node, name)) return
    if (node !== scope && (ts.isBlock(node) || ts.isModuleBlock(node)) && !ts.isFunctionLike(node.parent) && !isAround(node, declaration) && declares(ts, node, name)) return
    if (ts.isIdentifier(node) && node.text === name && node !== declaration.name && isUse(ts, node)) uses.push(node)
    if (!ts.isTypeNode(node) || ts.isExpressionWithTypeArguments(node)) ts.forEachChild(node, visit)
  }
  visit(scope)
  return uses
}

function isAround (outer: Node, inner: Node): boolean {
  return outer.pos <= inner.pos && inner.end <= outer.end
}

function isUse (ts: Ts, node: TypeScript.Identifier): boolean {
  const { parent } = node
  // The name of a field, a method, a getter, a declaration.
  if ('name' in parent && parent.name === node && !ts.isShorthandPropertyAssignment(parent)) return false
  if (ts.isPropertyAccessExpression(parent) || ts.isQualifiedName(parent)) return ts.isPropertyAccessExpression(parent) && parent.expression === node
  if (ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent) || ts.isMethodDeclaration(parent) || ts.isEnumMember(parent)) return 'initializer' in parent && parent.initializer === node
  if (ts.isBindingElement(parent)) return parent.initializer === node
  if (ts.isVariableDeclaration(parent)) return parent.initializer === node
  return !ts.isExportSpecifier(parent) && !ts.isImportSpecifier(parent) && !ts.isLabeledStatement(parent) && !ts.isBreakOrContinueStatement(parent) &&
    !ts.isParameter(parent) && !ts.isFunctionDeclaration(parent) && !ts.isClassDeclaration(parent) && !ts.isJsxAttribute(parent)
}
