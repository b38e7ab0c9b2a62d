/**
 * Rewrites a module so that the detector sees the state in it: collections that may be shared are tracked where they are made; variables that
 * functions share and change, and fields of objects, tell of each use. Lines stay where they are.
 */
import type * as TypeScript from 'typescript'
import { defectOf, type Ts } from '../source/parse.ts'
import { HELD, rewriteUse } from './accesses.ts'
import { mistakeIn } from './check.ts'
import { applied, type Edit, Edits } from './edits.ts'
import { exportsOf, importsOf, moduleKey, passedOn } from './modules.ts'
import { functionOf, isConstructor, scopeOf, Scopes, type Variable } from './scopes.ts'
import { bare, dressed, comparesObjects, isCalledOrChained, isChanged, isCollection, isLiteral, isMapOrSet, isNamed, isInPattern, isPath, isPrimitive, pathOf, isWrite, runsElsewhere } from './syntax.ts'

type Node = TypeScript.Node

export interface Rewrite {
  text: string
  edits: Edit[]
}

/**
 * Returns undefined if there is nothing to track.
 *
 * @throws Error if the source can't be parsed, or if what it would run as isn't sound, see check.ts
 */
export function rewrite (ts: Ts, path: string, source: string): Rewrite | undefined {
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true)
  const unread = defectOf(ts, file)
  if (unread !== undefined) throw new Error(`TypeScript can't parse it: ${unread}`)
  const edits = new Rewriter(ts, file, path).edits.all(source)
  if (edits.length === 0) return undefined
  const text = applied(edits, source)
  const mistake = mistakeIn(ts, ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true), file)
  if (mistake !== undefined) throw new Error(`what it would run as isn't sound: ${mistake}`)
  return { text, edits }
}

class Rewriter {
  readonly edits = new Edits()
  readonly #ts: Ts
  readonly #file: TypeScript.SourceFile
  readonly #path: string
  readonly #scopes: Scopes
  /** Names of fields that functions of this module assign. */
  readonly #assigned = new Set<string>()
  /** Names of fields whose values this module changes by a key that is computed, or by a method. A change by name tells of itself. */
  readonly #changed = new Set<string>()
  /** Private names that are methods or accessors, and no state. */
  readonly #privateCode = new Set<string>()
  readonly #wrapped = new Set<Node>()
  /** The variables of functions that have a cell, since `var` may declare a variable, or a parameter, once more. */
  readonly #withCell = new Map<Node, Set<string>>()
  #cells = 0

  constructor (ts: Ts, file: TypeScript.SourceFile, path: string) {
    this.#ts = ts
    this.#file = file
    this.#path = path
    this.#scopes = new Scopes(ts, file)
    this.#survey(file)
    this.#visit(file)
    // At the top, behind directives: a module may serve requests before its last line has run.
    const first = file.statements.find((statement) => !(ts.isExpressionStatement(statement) && ts.isStringLiteral(statement.expression)))
    const told = this.#assigned.size > 0 ? `$$race.fields(${[...this.#assigned].map((name) => JSON.stringify(name)).join()});` : ''
    const passed = passedOn(ts, file, path)
    if (first !== undefined && told + passed !== '') this.edits.insert(first.getStart(file), told + passed)
    for (const { key, name, uses } of importsOf(ts, file, path, this.#scopes)) {
      for (const use of uses) rewriteUse(ts, file, this.edits, use, { text: use.text, cell: `$$race.imported(${JSON.stringify(key)}, ${JSON.stringify(name)})`, isHidden: true })
    }
  }

  /** @param from where the expression begins that the value is a part of: an assignment tells of what was written, before that is tracked */
  #wrap (node: Node, name: string, call = 'shared', from = node.getStart(this.#file)): void {
    this.#wrapped.add(bare(this.#ts, node))
    this.edits.around(node.getStart(this.#file), node.end, `$$race.${call}(`, `, ${JSON.stringify(name)})`, from)
  }

  #raw (node: Node): void {
    this.edits.around(node.getStart(this.#file), node.end, '$$race.raw(', ')')
  }

  /** A switch compares as `===` does. */
  #switch ({ expression, caseBlock }: TypeScript.SwitchStatement): void {
    const ts = this.#ts
    const cases = caseBlock.clauses.filter((clause) => ts.isCaseClause(clause)).map((clause) => clause.expression).filter((each) => !isPrimitive(ts, each))
    if (cases.length > 0 && !isPrimitive(ts, expression)) for (const each of [expression, ...cases]) this.#raw(each)
  }

  /** Notes which fields are state: what is assigned in a constructor alone is not. */
  #survey (node: Node): void {
    const ts = this.#ts
    if (ts.isPropertyAccessExpression(node)) {
      const isInitial = node.expression.kind === ts.SyntaxKind.ThisKeyword && isConstructor(ts, functionOf(ts, node))
      if ((isWrite(ts, node) || ts.isDeleteExpression(node.parent)) && !isInitial && functionOf(ts, node) !== undefined) this.#assigned.add(node.name.text)
      if (isChanged(ts, node) && !isNamed(ts, node)) this.#changed.add(node.name.text)
    }
    if ((ts.isMethodDeclaration(node) || ts.isAccessor(node)) && ts.isPrivateIdentifier(node.name)) this.#privateCode.add(node.name.text)
    ts.forEachChild(node, (child) => this.#survey(child))
  }

  #visit (node: Node): void {
    const ts = this.#ts
    const assigned = ts.isBinaryExpression(node) ? bare(ts, node.left) : undefined
    // Types name values, and run none; of a decorator, the grammar allows no more than a path and a call.
    if (ts.isDecorator(node) || (ts.isTypeNode(node) && !ts.isExpressionWithTypeArguments(node)) || runsElsewhere(ts, node)) return
    if (ts.isVariableDeclaration(node)) this.#declaration(node)
    else if (ts.isParameter(node) && ts.isIdentifier(node.name)) this.#parameter(node, node.name)
    else if (ts.isPropertyDeclaration(node) && node.initializer !== undefined) this.#state(node.initializer, node.name.getText(this.#file))
    else if (ts.isPropertyAssignment(node) && !isInPattern(ts, node.parent)) this.#state(node.initializer, node.name.getText(this.#file))
    else if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken && assigned !== undefined && ts.isPropertyAccessExpression(assigned)) this.#state(node.right, assigned.name.text, assigned.getText(this.#file), node.getStart(this.#file))
    else if (ts.isCallExpression(node) && isDecorate(ts, node)) this.#decoration(node)
    else if (isMapOrSet(ts, node) && !this.#wrapped.has(node) && this.#isPassedOn(node)) this.#wrap(node, (node as TypeScript.NewExpression).expression.getText(this.#file))
    else if (ts.isSwitchStatement(node)) this.#switch(node)
    if (comparesObjects(ts, node)) {
      // A tracked value that is read may be a proxy of the value that it is compared with.
      this.#raw(node.left)
      this.#raw(node.right)
    }
    if (ts.isPropertyAccessExpression(node) && this.#field(node)) return
    if (ts.isBinaryExpression(node) && assigned !== undefined && ts.isPropertyAccessExpression(assigned) && this.#isField(assigned) && isWrite(ts, assigned)) {
      this.#field(assigned)
      return this.#visit(node.right)
    }
    ts.forEachChild(node, (child) => this.#visit(child))
  }

  /** State of an object: a collection that may be changed anywhere, or an object in which this module changes something. */
  #state (value: Node, name: string, text = name, from = value.getStart(this.#file)): void {
    const ts = this.#ts
    const made = bare(ts, value)
    if (isMapOrSet(ts, made) || (isLiteral(ts, value) && this.#changed.has(name)) || (ts.isArrayLiteralExpression(made) && made.elements.length === 0)) return this.#wrap(value, text, 'shared', from)
    // An object from elsewhere, in which something is changed.
    if (this.#changed.has(name) && (isMade(ts, made) || ts.isIdentifier(made))) this.#wrap(value, text, 'data', from)
  }

  #decoration ({ arguments: [name, value] }: TypeScript.CallExpression): void {
    if (name !== undefined && value !== undefined && this.#ts.isStringLiteralLike(name) && isLiteral(this.#ts, value)) this.#wrap(value, name.text)
  }

  /** Whether a new Map or Set goes elsewhere: to a function as an argument, to the caller as a result. */
  #isPassedOn ({ parent }: Node): boolean {
    const ts = this.#ts
    return ts.isReturnStatement(parent) || ts.isArrowFunction(parent) || ts.isParameter(parent) || ts.isConditionalExpression(parent) || ts.isNewExpression(parent) ||
      (ts.isCallExpression(parent) && !isDecorate(ts, parent)) || (ts.isBinaryExpression(parent) && parent.operatorToken.kind !== ts.SyntaxKind.EqualsToken)
  }

  #declaration (node: TypeScript.VariableDeclaration): void {
    const ts = this.#ts
    if (ts.isIdentifier(node.name)) return this.#variable(node, node.name)
    const each = (pattern: TypeScript.BindingPattern): void => {
      for (const element of pattern.elements) {
        if (!ts.isBindingElement(element)) continue
        if (ts.isIdentifier(element.name)) this.#variable(element, element.name)
        else each(element.name)
      }
    }
    each(node.name)
    // const { count } = this: the pattern itself can't tell what it reads.
    const { initializer } = node
    if (!ts.isObjectBindingPattern(node.name) || initializer === undefined || !isPath(ts, initializer) || functionOf(ts, node) === undefined) return
    const text = pathOf(ts, initializer)
    const names = node.name.elements.map(({ propertyName, name, dotDotDotToken }) => dotDotDotToken === undefined ? propertyName ?? name : undefined).filter((name) => name !== undefined && ts.isIdentifier(name))
    if (names.length === 0) return
    const notes = names.map((name) => JSON.stringify(`${text}.${(name as TypeScript.Identifier).text}`))
    const [start, end] = [initializer.getStart(this.#file), initializer.end]
    const noted = (object: string, paths: readonly string[]): string => paths.map((path) => `$$race.note(${object}, ${path}), `).join('')
    if (isSimple(ts, initializer)) return this.edits.around(start, end, `(${noted(text, notes)}`, ')')
    this.edits.around(start, end, '($$race.note($$race.hold(', `), ${notes[0]}), ${noted(HELD, notes.slice(1))}${HELD})`)
  }

  #variable (declaration: TypeScript.VariableDeclaration | TypeScript.BindingElement, name: TypeScript.Identifier): void {
    const ts = this.#ts
    let statement: Node = declaration
    while (!ts.isVariableStatement(statement)) {
      // The variable of a loop or of a catch clause.
      if (ts.isStatement(statement) || ts.isCatchClause(statement)) return
      statement = statement.parent
    }
    const uses = this.#scopes.usesOf(declaration, name.text)
    const isExported = statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true
    const isShared = (use: Node): boolean => functionOf(ts, use) !== functionOf(ts, declaration)
    if (!isExported && !uses.some(isShared)) {
      // What leaves the function may be shared all the same.
      if (declaration.initializer !== undefined && isMapOrSet(ts, bare(ts, declaration.initializer)) && uses.some((use) => this.#leaves(use))) this.#wrap(declaration.initializer, name.text)
      return
    }
    const { initializer } = declaration
    if (initializer !== undefined && ts.isVariableDeclaration(declaration)) {
      const changes = uses.some((use) => isChanged(ts, use))
      if (isLiteral(ts, initializer)) {
        if (isExported || changes || isCollection(ts, initializer)) this.#wrap(initializer, name.text)
      } else if (changes && isMade(ts, bare(ts, initializer))) this.#wrap(initializer, name.text, 'data')
    }
    if (uses.some((use) => isWrite(ts, use) && isShared(use))) this.#cell(declaration, statement.getStart(this.#file), name.text, uses, ts.isSourceFile(statement.parent) ? exportsOf(ts, this.#file, name.text, isExported) : [])
  }

  /** Whether a local value is put somewhere else: into a field, a result, an argument. */
  #leaves (use: Node): boolean {
    const ts = this.#ts
    const { parent } = use
    return ts.isReturnStatement(parent) || ((ts.isCallExpression(parent) || ts.isNewExpression(parent)) && parent.expression !== use) || ts.isShorthandPropertyAssignment(parent) || (ts.isPropertyAssignment(parent) && parent.initializer === use) ||
      (ts.isBinaryExpression(parent) && parent.right === use && ts.isPropertyAccessExpression(parent.left))
  }

  #parameter (declaration: TypeScript.ParameterDeclaration, name: TypeScript.Identifier): void {
    const ts = this.#ts
    const { body } = declaration.parent as { body?: Node }
    if (body === undefined || !ts.isBlock(body)) return
    const [first] = body.statements
    // A directive must come first.
    if (first !== undefined && ts.isExpressionStatement(first) && ts.isStringLiteral(first.expression)) return
    const uses = this.#scopes.usesOf(declaration, name.text)
    // The defaults of parameters run before the body, where the cell is.
    const inBody = uses.filter((use) => use.pos >= body.pos)
    // A list or an object from a caller, which functions within change: function counter (counts) { return { add: (name) => { counts[name]++ } } }.
    if (inBody.some((use) => functionOf(ts, use) !== declaration.parent && isChanged(ts, use)) && !inBody.some((use) => isWrite(ts, use))) this.edits.insert(body.getStart(this.#file) + 1, `${name.text} = $$race.data(${name.text}, ${JSON.stringify(name.text)});`)
    if (inBody.some((use) => isWrite(ts, use) && functionOf(ts, use) !== declaration.parent)) this.#cell(declaration, body.getStart(this.#file) + 1, name.text, inBody)
  }

  #cell (declaration: Variable, at: number, name: string, uses: readonly Node[], exported: readonly string[] = []): void {
    const ts = this.#ts
    const scope = scopeOf(ts, declaration)
    const known = this.#withCell.get(scope) ?? new Set()
    if (known.has(name)) return
    this.#withCell.set(scope, known.add(name))
    const cell = `$$race_${this.#cells++}`
    const names = exported.map((each) => JSON.stringify(each))
    this.edits.insert(at, `var ${cell}=$$race.cell(${[JSON.stringify(name), ...names.length > 0 ? [JSON.stringify(moduleKey(this.#path)), ...names] : []].join(', ')});`)
    for (const use of uses) {
      let outer = use
      for (let at = dressed(ts, use); ts.isPropertyAccessExpression(at.parent) && at.parent.expression === at; at = dressed(ts, outer)) outer = at.parent
      // The write of its field repeats the text of the variable.
      if (outer !== use && this.#isField(outer as TypeScript.PropertyAccessExpression) && isWrite(ts, outer)) continue
      rewriteUse(ts, this.#file, this.edits, use, { text: name, cell, isHidden: true })
    }
  }

  /** Whether the access may be one of state: its path is simple, and it isn't one that runs only when the module is loaded. */
  #isField (node: TypeScript.PropertyAccessExpression): boolean {
    const ts = this.#ts
    if (!isPath(ts, node.expression) || functionOf(ts, node) === undefined) return false
    if (ts.isPrivateIdentifier(node.name) && (!this.#assigned.has(node.name.text) || this.#privateCode.has(node.name.text))) return false
    return isWrite(ts, node) || !isCalledOrChained(ts, node)
  }

  /** Returns whether all of the access is done with. */
  #field (node: TypeScript.PropertyAccessExpression): boolean {
    const ts = this.#ts
    if (!this.#isField(node)) return false
    const text = pathOf(ts, node)
    const isHidden = ts.isPrivateIdentifier(node.name)
    const path = JSON.stringify(text.replace('?.', '.'))
    const base = pathOf(ts, node.expression)
    const rest = text.slice(base.length)
    rewriteUse(ts, this.#file, this.edits, node, isSimple(ts, node.expression)
      ? { text, cell: `$$race.of(${base}, ${path})`, isHidden }
      : { text: `$$race.hold(${base})${rest}`, cell: `$$race.of(${HELD}, ${path})`, isHidden, rest, object: { node: node.expression, text: base }, holds: ['$$race.of($$race.hold(', `), ${path})`] })
    return isWrite(ts, node)
  }
}

/** Whether reading the path runs no code of the application: a longer one may lead through getters. */
function isSimple (ts: Ts, path: Node): boolean {
  return !ts.isPropertyAccessExpression(bare(ts, path))
}

function isDecorate (ts: Ts, { expression }: TypeScript.CallExpression): boolean {
  return ts.isPropertyAccessExpression(expression) && expression.name.text === 'decorate'
}

/** Whether the expression makes or gets a value that this module has no name for yet. */
function isMade (ts: Ts, node: Node): boolean {
  return ts.isCallExpression(node) || ts.isNewExpression(node) || ts.isAwaitExpression(node)
}
