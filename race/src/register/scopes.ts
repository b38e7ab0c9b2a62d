/** Which identifiers mean which variable. */
import type * as TypeScript from 'typescript'
import type { Ts } from '../source/parse.ts'

type Node = TypeScript.Node

/** What declares a variable. */
export type Variable = TypeScript.VariableDeclaration | TypeScript.BindingElement | TypeScript.ParameterDeclaration | TypeScript.ImportSpecifier

/** The node in which a variable lives: a block for let and const; a catch clause for what it catches; a function, the block of a namespace, a static block or the file for var. */
export function scopeOf (ts: Ts, declaration: Variable): Node {
  if (ts.isImportSpecifier(declaration)) return declaration.getSourceFile()
  const isBlockScoped = (ts.getCombinedNodeFlags(declaration) & ts.NodeFlags.BlockScoped) !== 0
  let inner: Node = declaration
  let scope: Node = declaration.parent
  while (scope.parent !== undefined && !ts.isSourceFile(scope)) {
    if (ts.isCatchClause(scope) && inner === scope.variableDeclaration) break
    if (ts.isFunctionLike(scope) || ts.isModuleBlock(scope) || ts.isClassStaticBlockDeclaration(scope) || (isBlockScoped && (ts.isBlock(scope) || ts.isCaseBlock(scope) || ts.isIterationStatement(scope, false)))) break
    inner = scope
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

/** Which identifiers of a file mean which variable. Made by one walk: the time is linear in the length of the file. */
export class Scopes {
  readonly #ts: Ts
  /** The variables that live in a node, with their uses. */
  readonly #variables = new Map<Node, Map<string, TypeScript.Identifier[]>>()

  constructor (ts: Ts, file: TypeScript.SourceFile) {
    this.#ts = ts
    const identifiers: TypeScript.Identifier[] = []
    const visit = (node: Node): void => {
      if (ts.isTypeNode(node) && !ts.isExpressionWithTypeArguments(node)) return
      if (!ts.isIdentifier(node)) this.#declare(node)
      else if (isUse(ts, node)) identifiers.push(node)
      ts.forEachChild(node, visit)
    }
    visit(file)
    for (const identifier of identifiers) this.#resolve(identifier)
  }

  /** The uses of a variable in expressions. */
  usesOf (declaration: Variable, name: string): readonly TypeScript.Identifier[] {
    return this.#variables.get(scopeOf(this.#ts, declaration))?.get(name) ?? []
  }

  #declare (node: Node): void {
    const ts = this.#ts
    const { name } = node as { name?: Node }
    if (name === undefined || !ts.isIdentifier(name)) return
    if (ts.isVariableDeclaration(node) || ts.isBindingElement(node) || ts.isParameter(node)) this.#add(scopeOf(ts, node), name.text)
    else if (ts.isFunctionExpression(node) || ts.isClassExpression(node)) this.#add(node, name.text)
    else if (ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node) || ts.isEnumDeclaration(node) || ts.isModuleDeclaration(node)) this.#add(blockOf(ts, node), name.text)
    else if (ts.isImportSpecifier(node) || ts.isImportClause(node) || ts.isNamespaceImport(node)) this.#add(node.getSourceFile(), name.text)
  }

  #add (scope: Node, name: string): void {
    const variables = this.#variables.get(scope)
    if (variables === undefined) this.#variables.set(scope, new Map([[name, []]]))
    else if (!variables.has(name)) variables.set(name, [])
  }

  #resolve (identifier: TypeScript.Identifier): void {
    for (let at: Node | undefined = identifier; at !== undefined; at = at.parent as Node | undefined) {
      const uses = this.#variables.get(at)?.get(identifier.text)
      if (uses === undefined) continue
      uses.push(identifier)
      return
    }
  }
}

/** The block in which a function or a class is declared. */
function blockOf (ts: Ts, node: Node): Node {
  let at = node.parent
  while (!ts.isSourceFile(at) && !ts.isBlock(at) && !ts.isModuleBlock(at) && !ts.isCaseBlock(at) && !ts.isClassStaticBlockDeclaration(at)) at = at.parent
  return at
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
