/**
 * How a value flows within one function: which definitions hold it, and which code runs because of it. A name stands for one variable, and a loop
 * is taken for the order of its source; both may err, and what they err about is only whether a race is reported.
 */
import type * as TypeScript from 'typescript'
import { definitionsIn, dominates, isAssignment, isLogical, isWithin, Level, namesOf, passedThrough, pathOf, type Definition } from './definitions.ts'
import type { Source } from './parse.ts'

type Node = TypeScript.Node

/** Where the value comes from: the expression that reads it, or parameters that were given it. */
export interface Origin {
  readonly read?: Node
  readonly names?: readonly string[]
  /** How much of the value was there when it came; all of it, if this isn't given. */
  readonly level?: Level
}

export class Flow {
  readonly #source: Source
  readonly #ts: Source['ts']
  readonly #scope: Node
  readonly #read: Node | undefined
  readonly #level: Level
  readonly #definitions = new Map<string, Definition[]>()
  /** The names of parameters and variables of the function. */
  readonly #locals: ReadonlySet<string>

  constructor (source: Source, scope: TypeScript.SignatureDeclaration, { read, names = [], level = Level.data }: Origin) {
    const { ts } = source
    this.#source = source
    this.#ts = ts
    this.#scope = scope
    this.#read = read
    this.#level = level
    const all = definitionsIn(ts, scope)
    this.#locals = new Set(all.flatMap(({ name, at }) => ts.isVariableDeclaration(at) || ts.isFunctionLike(at) ? [name] : []))
    for (const definition of all) {
      const { name, at } = definition
      // const { hits } = stats: the read is that of the pattern's element.
      if (at === scope && names.includes(name)) definition.level = level
      const patterns = ts.isVariableDeclaration(at) ? [at.name] : ts.isFunctionLike(at) ? at.parameters.map((parameter) => parameter.name) : []
      for (const pattern of patterns) if (read !== undefined && isWithin(read, pattern) && this.#binds(pattern, name)) definition.level = level
      const known = this.#definitions.get(name)
      if (known === undefined) this.#definitions.set(name, [definition])
      else known.push(definition)
    }
    for (let hasChanged = true; hasChanged;) {
      hasChanged = false
      for (const definition of all) {
        const { at, from, level } = definition
        // A function is no value that was read, wherever it reads: what it returns may be.
        if (from !== undefined && ts.isFunctionLike(from)) continue
        // A variable from outside is read again where it is used, and that is another read.
        const next = Math.max(level, this.levelOf(from), this.#isOwn(definition) && this.governs(at) ? Level.control : Level.none) as Level
        if (next === level) continue
        definition.level = next
        hasChanged = true
      }
    }
  }

  /** How much of the value is in a node. */
  levelOf (node: Node | undefined): Level {
    if (node === undefined) return Level.none
    if (this.#read !== undefined && isWithin(this.#read, node)) return this.#level
    const ts = this.#ts
    let level: Level = Level.none
    const visit = (part: Node): void => {
      if (level === Level.data) return
      const value = passedThrough(ts, part)
      if (value !== undefined) return visit(value)
      const fn = this.#calledHere(part)
      if (fn !== undefined) {
        level = Math.max(level, new Flow(this.#source, fn, { read: this.#read as Node, level: this.#level }).returned) as Level
        return (part as TypeScript.CallExpression).arguments.forEach(visit)
      }
      // What is assigned, and not read.
      if (isAssignment(ts, part) && part.operatorToken.kind === ts.SyntaxKind.EqualsToken && ts.isIdentifier(part.left)) return visit(part.right)
      if (ts.isIdentifier(part) && !this.#isPropertyName(part)) level = Math.max(level, this.#levelAt(part)) as Level
      ts.forEachChild(part, visit)
    }
    visit(node)
    return level
  }

  /** Returns the function that is called, if it is one within this one and the read is in it. */
  #calledHere (node: Node): TypeScript.SignatureDeclaration | undefined {
    const ts = this.#ts
    if (this.#read === undefined || !ts.isCallExpression(node) || !ts.isIdentifier(node.expression)) return undefined
    const { text } = node.expression
    const from = this.#definitions.get(text)?.find((definition) => definition.from !== undefined && ts.isFunctionLike(definition.from))?.from
    return from !== undefined && ts.isFunctionLike(from) && isWithin(this.#read, from) ? from : undefined
  }

  has (node: Node | undefined): boolean {
    return this.levelOf(node) !== Level.none
  }

  /** Whether the node is run, or not, because of the value: it stands under a test of it, or after a guard. */
  governs (node: Node): boolean {
    const ts = this.#ts
    for (let at = node; at !== this.#scope && at.parent !== undefined; at = at.parent) {
      const { parent } = at
      if (ts.isIfStatement(parent) && at !== parent.expression && this.has(parent.expression)) return true
      if (ts.isConditionalExpression(parent) && at !== parent.condition && this.has(parent.condition)) return true
      if (ts.isBinaryExpression(parent) && at === parent.right && isLogical(ts, parent.operatorToken.kind) && this.has(parent.left)) return true
      if ((ts.isWhileStatement(parent) || ts.isDoStatement(parent)) && at === parent.statement && this.has(parent.expression)) return true
      if (ts.isForStatement(parent) && at === parent.statement && this.has(parent.condition)) return true
      if ((ts.isForOfStatement(parent) || ts.isForInStatement(parent)) && at === parent.statement && this.has(parent.expression)) return true
      if (ts.isCaseOrDefaultClause(parent) && this.has(parent.parent.parent.expression)) return true
      if (ts.isCallExpression(parent) && ts.isFunctionLike(at) && this.has(parent.expression)) return true
      if ((ts.isBlock(parent) || ts.isSourceFile(parent) || ts.isCaseOrDefaultClause(parent)) && this.#isGuarded(parent.statements, at)) return true
    }
    return false
  }

  /** Whether the function goes on to the node, on no other condition, only if a test of the value has refused nobody. */
  isRefusedBefore (node: Node): boolean {
    const ts = this.#ts
    for (let at = node; at !== this.#scope && at.parent !== undefined; at = at.parent) {
      const { parent } = at
      if (ts.isBlock(parent) && parent.statements.slice(0, parent.statements.indexOf(at as TypeScript.Statement)).some((statement) => this.#refuses(statement))) return true
      // Whether it comes to the node is another question then: a breaker opens if the call fails.
      if (ts.isIfStatement(parent) || ts.isConditionalExpression(parent) || ts.isCatchClause(parent) || ts.isCaseOrDefaultClause(parent)) return false
    }
    return false
  }

  /** Whether the function waits in a loop until the value is another, and then goes on to the node. */
  waitsBefore (node: Node): boolean {
    const ts = this.#ts
    for (let at = node; at !== this.#scope && at.parent !== undefined; at = at.parent) {
      const { parent } = at
      if (ts.isBlock(parent) && parent.statements.slice(0, parent.statements.indexOf(at as TypeScript.Statement)).some((statement) =>
        (ts.isWhileStatement(statement) || ts.isDoStatement(statement)) && this.has(statement.expression) && this.#some(statement, (each) => ts.isAwaitExpression(each)))) return true
    }
    return false
  }

  #refuses (statement: Node): boolean {
    const ts = this.#ts
    const isRefused = (node: Node): boolean => ts.isThrowStatement(node) || isRefusal(ts, node)
    if (ts.isIfStatement(statement)) return this.has(statement.expression) && this.#some(statement.thenStatement, isRefused)
    return this.#searches(statement, isRefused)
  }

  /** Whether the statement is a loop over the value, or with a test of it, that ends in one of these nodes: `for (const each of all) if (…) return`. */
  #searches (statement: Node, isEnd: (node: Node) => boolean): boolean {
    const ts = this.#ts
    if (!ts.isIterationStatement(statement, false)) return false
    const { condition, expression } = statement as { condition?: Node, expression?: Node }
    const isOver = this.has(condition ?? expression)
    return this.#some(statement.statement, (node) => isOver
      ? isEnd(node)
      : ts.isIfStatement(node) && this.has(node.expression) && this.#some(node, isEnd))
  }

  /** How much of the value is in what the function returns: it may be made of the value, or chosen because of it. */
  get returned (): Level {
    const ts = this.#ts
    if (ts.isArrowFunction(this.#scope) && !ts.isBlock(this.#scope.body)) return this.levelOf(this.#scope.body)
    const returns: TypeScript.ReturnStatement[] = []
    this.#own((node) => { if (ts.isReturnStatement(node)) returns.push(node); return false })
    const level = Math.max(...returns.map(({ expression }) => this.levelOf(expression)), Level.none) as Level
    if (level === Level.data || this.#level !== Level.data) return level
    // Results that are all found at run time don't tell which of them it was: a connection from the pool, or a new one.
    const isTold = returns.some(({ expression }) => expression === undefined || this.#isSaid(expression))
    return isTold && (level === Level.control || returns.some((node) => node.expression !== undefined && this.governs(node))) ? Level.control : Level.none
  }

  /** Whether the source says what the value is, at least of one way to it. */
  #isSaid (node: Node): boolean {
    const ts = this.#ts
    if (ts.isIdentifier(node) && node.text !== 'undefined') return this.#definitions.get(node.text)?.some(({ from }) => from !== undefined && !ts.isIdentifier(from) && this.#isSaid(from)) === true
    const { TrueKeyword, FalseKeyword, NullKeyword } = ts.SyntaxKind
    return ts.isLiteralExpression(node) || ts.isObjectLiteralExpression(node) || ts.isArrayLiteralExpression(node) || ts.isPrefixUnaryExpression(node) || [TrueKeyword, FalseKeyword, NullKeyword].includes(node.kind as never) || ts.isIdentifier(node)
  }

  /** Whether the function throws because of the value. */
  get throws (): boolean {
    // What is caught and thrown again has another cause.
    return this.#own((node) => this.#ts.isThrowStatement(node) && this.governs(node) && !this.#isCaught(node))
  }

  /** Whether the function refuses a request because of the value: it throws, or answers with an error. */
  get refuses (): boolean {
    return this.throws || this.#own((node) => isRefusal(this.#ts, node) && this.governs(node))
  }

  /** Whether the value leaves the function other than by its result: to a variable or object from outside, or to a call. */
  get escapes (): boolean {
    const ts = this.#ts
    return this.#own((node) => ts.isCallExpression(node) ? passedThrough(ts, node) === undefined && node.arguments.some((argument) => this.has(argument)) : isAssignment(ts, node) && this.has(node.right))
  }

  /** How much of the value the variable holds at a use: what the definitions before it have put there, back to one that replaces all. */
  #levelAt (use: TypeScript.Identifier): Level {
    const path = this.#pathAround(use)
    const own = this.#levelOfPath(use.text, use)
    if (path !== undefined) return Math.max(own, this.#levelOfPath(path, use), this.#levelOfPath(`${use.text}.*`, use)) as Level
    let level = own
    for (const name of this.#definitions.keys()) if (name.startsWith(`${use.text}.`)) level = Math.max(level, this.#levelOfPath(name, use)) as Level
    return level
  }

  #levelOfPath (name: string, use: Node): Level {
    let level: Level = Level.none
    const before = (this.#definitions.get(name) ?? []).filter(({ at }) => at.pos <= use.pos && !(isAssignment(this.#ts, at) && isWithin(use, at)) && !(this.#ts.isVariableDeclaration(at) && isWithin(use, at)))
    for (const definition of before.reverse()) {
      level = Math.max(level, definition.level) as Level
      if (definition.replaces && dominates(this.#ts, definition.at, use)) break
    }
    return level
  }

  /** `order.total` around `order`. */
  #pathAround (use: Node): string | undefined {
    const ts = this.#ts
    const { parent } = use
    if (!ts.isPropertyAccessExpression(parent) || parent.expression !== use) return undefined
    // The field may be a method: list.map() uses all of the list.
    return ts.isCallExpression(parent.parent) && parent.parent.expression === parent ? undefined : pathOf(ts, parent)
  }

  #binds (pattern: Node, name: string): boolean {
    const ts = this.#ts
    let element: Node | undefined
    const visit = (node: Node): void => {
      if (ts.isBindingElement(node) && isWithin(this.#read as Node, node)) element = node
      ts.forEachChild(node, visit)
    }
    visit(pattern)
    return namesOf(ts, element !== undefined && ts.isBindingElement(element) ? element.name : pattern).includes(name)
  }

  /** A statement before the node in its block that leaves the block because of the value. */
  #isGuarded (statements: readonly Node[], before: Node): boolean {
    const ts = this.#ts
    return statements.slice(0, statements.indexOf(before)).some((statement) =>
      // A loop that waits until the value is another: what comes after it rests on the last one.
      ((ts.isWhileStatement(statement) || ts.isDoStatement(statement)) && this.has(statement.expression)) ||
      this.#searches(statement, (node) => ts.isReturnStatement(node) || ts.isThrowStatement(node)) ||
      (ts.isIfStatement(statement) && this.has(statement.expression) && this.#some(statement, (node) =>
        ts.isReturnStatement(node) || ts.isThrowStatement(node) || ts.isBreakOrContinueStatement(node) ||
        // if (holder) await holder: what comes after it waited for the value that was read.
        (ts.isAwaitExpression(node) && this.has(node.expression)))))
  }

  /** Whether a name is that of a parameter or a variable of the function. */
  isLocal (name: string): boolean {
    return this.#locals.has(name)
  }

  #isCaught (node: Node): boolean {
    for (let at = node; at !== this.#scope && at.parent !== undefined; at = at.parent) if (this.#ts.isCatchClause(at)) return true
    return false
  }

  #isOwn ({ name }: Definition): boolean {
    return this.#locals.has(name.replace(/\..*/, ''))
  }

  #isPropertyName (node: Node): boolean {
    const ts = this.#ts
    const { parent } = node
    return (ts.isPropertyAccessExpression(parent) && parent.name === node) || (ts.isPropertyAssignment(parent) && parent.name === node)
  }

  #own (holds: (node: Node) => boolean): boolean {
    return this.#some(this.#scope, holds)
  }

  /** Looks into no functions within. */
  #some (node: Node, holds: (node: Node) => boolean): boolean {
    if (holds(node)) return true
    return this.#ts.forEachChild(node, (child) => (!this.#ts.isFunctionLike(child) && this.#some(child, holds)) || undefined) ?? false
  }
}

/** Whether the node answers with an error: `return reply.code(409).send()`. */
function isRefusal (ts: Source['ts'], node: Node): boolean {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression) || !['code', 'status'].includes(node.expression.name.text)) return false
  const [status] = node.arguments
  return status !== undefined && ts.isNumericLiteral(status) && Number(status.text) >= 400
}
