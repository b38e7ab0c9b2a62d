/**
 * Decides, on the source, whether a request that acts on a test claims something for itself alone. Two requests may fill a cache with the same;
 * they must not redeem one coupon. What differs is what becomes of a request that finds the work done: it is answered as if it had done the work
 * itself, or it is refused, or told something else, or it waits.
 */
import type * as TypeScript from 'typescript'
import type { Frame } from '../sites.ts'
import { definitionsIn, isAssignment, isLogical, isWithin, Level, passedThrough } from './definitions.ts'
import { commonPlaces, type Place, placesOf, valuesOf, writeAround } from './dependence.ts'
import { Flow } from './flow.ts'
import type { Source } from './parse.ts'

type Node = TypeScript.Node
type Ts = Source['ts']

/** What is known of a write that leaves things as they are, since another request has written the same. */
export interface Same {
  /** It only notes that something was done: a member of a Set, a flag, a time. */
  readonly isMark: boolean
  /** The value that was tested is no object, so that an answer with it in it tells who was first. */
  readonly isTest: boolean
}

const cache = new Map<string, boolean>()
const keyOf = (frames: readonly Frame[]): string => frames.map(({ file, line, column }) => `${file}:${line}:${column}`).join()

/** @param read, write frames, from the inside out */
export function isClaim (read: readonly Frame[], write: readonly Frame[], { isMark, isTest }: Same): boolean {
  const key = [keyOf(read), keyOf(write), isMark, isTest].join('|')
  let result = cache.get(key)
  if (result === undefined) {
    if (cache.size > 10_000) cache.clear()
    const writes = placesOf(write)
    const isNoted = isMark || tellsComputed(writes) === false
    result = commonPlaces(placesOf(read), writes).some(({ flow, scope, source: { ts }, target }) =>
      flow.isRefusedBefore(target) || (isNoted && (flow.waitsBefore(target) || isTakenBack(ts, scope, target) || (!isFoundOut(ts, flow, scope, target) && diverges(ts, flow, scope, target, isTest)))))
    cache.set(key, result)
  }
  return result
}

/**
 * Whether the value that is written is what was read, or something else if nothing was there: `cache.get(key) ?? await load(key)`. It is no value
 * that was made of the one that was read.
 */
export function isFilledIn (read: readonly Frame[], write: readonly Frame[]): boolean {
  return commonPlaces(placesOf(read), placesOf(write)).some(({ flow, scope, source: { ts }, target, origin }) => {
    const isPassed = (node: Node, seen: readonly string[]): boolean => {
      const value = bareOf(ts, node)
      if (isWithin(value, origin) && isWithin(origin, value)) return true
      if (ts.isBinaryExpression(value) && isLogical(ts, value.operatorToken.kind)) return isPassed(value.left, seen) || isPassed(value.right, seen)
      if (ts.isConditionalExpression(value)) return isPassed(value.whenTrue, seen) || isPassed(value.whenFalse, seen)
      if (isAssignment(ts, value)) return isPassed(value.right, seen)
      if (!ts.isIdentifier(value) || seen.includes(value.text)) return false
      const made = definitionsIn(ts, scope).filter(({ name, from }) => name === value.text && from !== undefined && flow.levelOf(from) === Level.data)
      return made.length > 0 && made.every(({ from }) => isPassed(from as Node, [...seen, value.text]))
    }
    const value = valuesOf(ts, target).at(-1)
    return value !== undefined && flow.levelOf(value) === Level.data && isPassed(value, [])
  })
}

/** Whether what was read is handed to an operation that is awaited before the write: a batch that is sent, one by one or as a whole. */
export function isHandedOn (read: readonly Frame[], write: readonly Frame[]): boolean {
  return commonPlaces(placesOf(read), placesOf(write)).some(({ flow, scope, source: { ts }, target }) => someIn(ts, scope, (node) => node.end <= target.pos && (
    (ts.isAwaitExpression(node) && flow.levelOf(node.expression) === Level.data && ts.isCallExpression(bareOf(ts, node.expression))) ||
    (ts.isForOfStatement(node) && flow.levelOf(node.expression) === Level.data && someIn(ts, node.statement, (each) => ts.isAwaitExpression(each))))))
}

/** Whether all tests of what was read ask only whether it is there: `if (!user)`, `user === undefined`. */
export function isOfPresence (read: readonly Frame[], write: readonly Frame[]): boolean {
  const common = commonPlaces(placesOf(read), placesOf(write))
  return common.length > 0 && common.every(({ flow, scope, source: { ts }, origin }) => !someIn(ts, scope, (node) => {
    const test = ts.isIfStatement(node) || ts.isWhileStatement(node) || ts.isDoStatement(node) || ts.isSwitchStatement(node) ? node.expression : ts.isConditionalExpression(node) ? node.condition : undefined
    return test !== undefined && flow.levelOf(test) === Level.data && !isPresence(ts, test, origin)
  }))
}

function isPresence (ts: Ts, test: Node, origin: Node): boolean {
  const value = bareOf(ts, test)
  if (ts.isPrefixUnaryExpression(value)) return isPresence(ts, value.operand, origin)
  if (ts.isBinaryExpression(value) && /^[!=]==?$/.test(value.operatorToken.getText())) {
    const isNothing = (node: Node): boolean => ['undefined', 'null'].includes(bareOf(ts, node).getText())
    return isNothing(value.right) ? isPresence(ts, value.left, origin) : isNothing(value.left) && isPresence(ts, value.right, origin)
  }
  return ts.isIdentifier(value) || (isWithin(value, origin) && isWithin(origin, value))
}

/** Whether something is tested between the last await and the write, other than what the request has in variables of its own. */
export function isRechecked (read: readonly Frame[], write: readonly Frame[]): boolean {
  const common = commonPlaces(placesOf(read), placesOf(write))
  return common.length === 0 || common.some(({ flow, scope, source: { ts }, target }) =>
    testsBefore(ts, scope, target).some((test) => !isOwn(ts, flow, test)))
}

/**
 * Whether what the request kept before its last await is compared with what is there now: `if (generation !== this.generation) return`. The write
 * rests on that, in the function that has the read or in those that lead to the write.
 */
export function isCompared (read: readonly Frame[], write: readonly Frame[]): boolean {
  const writes = placesOf(write)
  return commonPlaces(placesOf(read), writes).some(({ scope, source, target }) => {
    const inner = writes.slice(0, writes.findIndex((place) => place?.functions[0] === scope)).flatMap((place) => place?.functions[0] === undefined ? [] : [{ source: place.source, scope: place.functions[0], target: writeAround(place) }])
    return [...inner, { source, scope, target }].some(({ source: within, scope: fn, target: at }) => {
      const { ts } = within
      const flow = new Flow(within, fn, {})
      return testsBefore(ts, fn, at).some((test) => someIn(ts, test, (node) => ts.isBinaryExpression(node) && /^[!=]==?$/.test(node.operatorToken.getText()) && !isPrimitiveText(node) && isOwn(ts, flow, node.left) !== isOwn(ts, flow, node.right)))
    })
  })
}

const isPrimitiveText = ({ left, right }: TypeScript.BinaryExpression): boolean => [left, right].some((node) => /^(?:undefined|null|true|false|'.*'|".*"|-?\d+)$/.test(node.getText()))

/** Returns the tests between the last await and a write, of which some may decide about it. A callback of a function without an await is run later. */
function testsBefore (ts: Ts, scope: Node, target: Node): Node[] {
  let last = scope.pos
  const tests: Node[] = []
  const look = (within: Node): void => {
    someIn(ts, within, (node) => {
      const isWait = ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier !== undefined)
      if (isWait && (node.end <= target.pos || isWithin(node, target))) last = Math.max(last, node.end)
      if (node.pos < target.pos) {
        if (ts.isIfStatement(node)) tests.push(node.expression)
        else if (ts.isConditionalExpression(node)) tests.push(node.condition)
      }
      return false
    })
  }
  let inner = target
  while (inner !== scope && !ts.isFunctionLike(inner) && inner.parent !== undefined) inner = inner.parent
  if (inner === scope || someIn(ts, scope, (node) => ts.isAwaitExpression(node))) look(scope)
  if (inner !== scope) look(inner)
  return tests.filter(({ pos }) => pos >= last)
}

/** Whether an expression is made of variables of the function alone. */
function isOwn (ts: Ts, flow: Flow, expression: Node): boolean {
  return !someIn(ts, expression, (node) => node.kind === ts.SyntaxKind.ThisKeyword ||
    (ts.isIdentifier(node) && !(ts.isPropertyAccessExpression(node.parent) && node.parent.name === node) && !node.text.startsWith('$$race') && node.text !== 'undefined' && !flow.isLocal(node.text)))
}

/** Looks into no functions within. */
function someIn (ts: Ts, scope: Node, holds: (node: Node) => boolean): boolean {
  const visit = (node: Node): boolean => (node !== scope && ts.isFunctionLike(node)) ? false : holds(node) || (ts.forEachChild(node, (child) => visit(child) || undefined) ?? false)
  return visit(scope)
}

/** Whether the value that is written was computed or fetched. It wasn't: `true`, `'paid'`, the time, the name of the user. Undefined if the source doesn't tell. */
function tellsComputed (writes: ReadonlyArray<Place | undefined>): boolean | undefined {
  const [first] = writes
  const value = first && valuesOf(first.source.ts, writeAround(first)).at(-1)
  return value && isComputedAt(writes, 0, value, new Set())
}

export const isComputed = (write: readonly Frame[]): boolean => tellsComputed(placesOf(write)) === true

/** @param depth of the function in which the expression stands */
function isComputedAt (writes: ReadonlyArray<Place | undefined>, depth: number, value: Node, seen: Set<Node>): boolean {
  const place = writes[depth]
  const scope = place?.functions[0]
  if (place === undefined || scope === undefined || seen.has(value)) return false
  seen.add(value)
  const { ts } = place.source
  const passed = passedThrough(ts, value)
  if (passed !== undefined) return isComputedAt(writes, depth, passed, seen)
  if (ts.isAwaitExpression(value)) return true
  if (ts.isCallExpression(value) || ts.isNewExpression(value)) return !isTimeCall(ts, value)
  if (ts.isIdentifier(value)) {
    const index = scope.parameters.findIndex(({ name }) => ts.isIdentifier(name) && name.text === value.text)
    const caller = writes[depth + 1]
    if (index !== -1) {
      const call = caller && writeAround(caller)
      const given = call !== undefined && ts.isCallExpression(call) ? call.arguments[index] : undefined
      return given !== undefined && isComputedAt(writes, depth + 1, given, seen)
    }
    return definitionsIn(ts, scope).some(({ name, from, at }) => name === value.text && at !== scope && from !== undefined && isComputedAt(writes, depth, from, seen))
  }
  return ts.forEachChild(value, (child) => (ts.isPropertyAccessExpression(value) && child === value.name ? undefined : isComputedAt(writes, depth, child, seen) || undefined)) ?? false
}

const isTimeCall = (ts: Ts, node: TypeScript.CallExpression | TypeScript.NewExpression): boolean =>
  /^(?:Date|Date\.now|performance\.now|String|Number|Boolean)$/.test(node.expression.getText()) && node.arguments?.every((argument) => !ts.isCallExpression(argument) && !ts.isAwaitExpression(argument)) !== false

/** Whether something else decides about the write: what a call found out is the same for all who find it out. */
function isFoundOut (ts: Ts, flow: Flow, scope: Node, write: Node): boolean {
  for (let at = write; at !== scope && at.parent !== undefined; at = at.parent) {
    const { parent } = at
    if (ts.isCatchClause(parent) || ts.isCaseOrDefaultClause(parent)) return true
    const test = ts.isIfStatement(parent) && at !== parent.expression ? parent.expression : ts.isConditionalExpression(parent) && at !== parent.condition ? parent.condition : undefined
    if (test !== undefined && flow.levelOf(test) !== Level.data) return true
  }
  return false
}

/** Whether a request that finds the work done is answered other than one that has done it. */
function diverges (ts: Ts, flow: Flow, scope: TypeScript.SignatureDeclaration, write: Node, isTest: boolean): boolean {
  const outcomes = outcomesIn(ts, scope)
  if (isTest && outcomes.some(({ value }) => value !== undefined && flow.levelOf(value) === Level.data)) return true
  if (outcomes.some(({ value }) => value !== undefined && isChosen(ts, flow, scope, value))) return true
  const having = outcomes.filter(({ at }) => follows(ts, scope, write, at))
  // Who writes never comes to the end then, so others do because of the test.
  const isOther = (at: Node): boolean => isWithin(write, at) || flow.governs(at)
  const others = outcomes.filter(({ at }) => !follows(ts, scope, write, at) && isOther(at))
  return others.some(({ value }) => having.some((own) => differ(ts, value, own.value)))
}

/** What a function answers, and where: by `return`, by `reply.send()`, or at its end. */
interface Outcome {
  readonly at: Node
  readonly value: Node | undefined
}

function outcomesIn (ts: Ts, scope: TypeScript.SignatureDeclaration): Outcome[] {
  const { body } = scope as { body?: Node }
  const found: Outcome[] = []
  let isSent = false
  const visit = (node: Node): void => {
    if (ts.isFunctionLike(node)) return
    if (ts.isReturnStatement(node)) found.push({ at: node, value: node.expression })
    else if (ts.isExpressionStatement(node) && isSending(ts, node.expression)) {
      isSent = true
      found.push({ at: node, value: node.expression })
    }
    ts.forEachChild(node, visit)
  }
  if (body === undefined || !ts.isBlock(body)) return found
  visit(body)
  if (!leaves(ts, body)) found.push({ at: body, value: undefined })
  // A handler that sends answers nothing by what it returns.
  return isSent ? found.filter(({ value }) => value !== undefined) : found
}

function isSending (ts: Ts, node: Node): boolean {
  const call = ts.isAwaitExpression(node) ? node.expression : node
  return ts.isCallExpression(call) && ts.isPropertyAccessExpression(call.expression) && call.expression.name.text === 'send'
}

/** Whether control never goes on behind the statement. */
function leaves (ts: Ts, statement: Node): boolean {
  if (ts.isReturnStatement(statement) || ts.isThrowStatement(statement)) return true
  if (ts.isBlock(statement)) return statement.statements.some((each) => leaves(ts, each))
  if (ts.isIfStatement(statement)) return statement.elseStatement !== undefined && leaves(ts, statement.thenStatement) && leaves(ts, statement.elseStatement)
  if (ts.isTryStatement(statement)) return (statement.finallyBlock !== undefined && leaves(ts, statement.finallyBlock)) || (leaves(ts, statement.tryBlock) && (statement.catchClause === undefined || leaves(ts, statement.catchClause.block)))
  return false
}

/** Whether a run that writes may come to the outcome afterwards. The outcome at the end of a function stands for its whole body. */
function follows (ts: Ts, scope: Node, write: Node, outcome: Node): boolean {
  const isEnd = isWithin(write, outcome)
  if (!isEnd && outcome.pos < write.pos) return false
  for (let at = write; at !== scope && at.parent !== undefined; at = at.parent) {
    const { parent } = at
    if (isWithin(outcome, at) && !isEnd) return true
    if (ts.isIfStatement(parent) && at !== parent.expression && !isEnd && isWithin(outcome, parent)) return isWithin(outcome, at)
    if (ts.isReturnStatement(at) && at === outcome) return true
    if (ts.isBlock(parent)) {
      const rest = parent.statements.slice(parent.statements.indexOf(at as TypeScript.Statement))
      if (!isEnd && rest.some((statement) => isWithin(outcome, statement))) return true
      if (rest.some((statement) => leaves(ts, statement))) return false
    }
  }
  return true
}

/** Whether a variable in the answer was set to one of several constants, because of the test. */
function isChosen (ts: Ts, flow: Flow, scope: Node, value: Node): boolean {
  if (ts.isIdentifier(value)) {
    if (flow.levelOf(value) !== Level.control) return false
    const all = definitionsIn(ts, scope).filter(({ name, from }) => name === value.text && from !== undefined && isLiteral(ts, bareOf(ts, from)))
    return new Set(all.map(({ from }) => bareOf(ts, from as Node).getText())).size > 1
  }
  if (ts.isConditionalExpression(value)) return flow.has(value.condition) && differ(ts, value.whenTrue, value.whenFalse)
  return ts.forEachChild(value, (child) => (!ts.isFunctionLike(child) && isChosen(ts, flow, scope, child)) || undefined) ?? false
}

function isLiteral (ts: Ts, node: Node): boolean {
  const { TrueKeyword, FalseKeyword, NullKeyword } = ts.SyntaxKind
  return ts.isLiteralExpression(node) || [TrueKeyword, FalseKeyword, NullKeyword].includes(node.kind as never)
}

function bareOf (ts: Ts, node: Node): Node {
  const passed = passedThrough(ts, node)
  if (passed !== undefined) return bareOf(ts, passed)
  return ts.isParenthesizedExpression(node) || ts.isAwaitExpression(node) || ts.isAsExpression(node) || ts.isSatisfiesExpression(node) ? bareOf(ts, node.expression) : node
}

/** Returns the status and the body of `reply.code(201).send(body)`; undefined for what is no such answer. */
function sentBy (ts: Ts, node: Node): { status: string, body: Node | undefined } | undefined {
  if (!isSending(ts, node)) return undefined
  const { expression, arguments: [body] } = node as TypeScript.CallExpression
  const [, status = '200'] = /\.(?:code|status)\((\d+)\)/.exec(expression.getText()) ?? []
  return { status, body }
}

/** Whether two answers differ in what the source itself says of them. Values that are found at run time may be the same. */
function differ (ts: Ts, first: Node | undefined, second: Node | undefined): boolean {
  if (first === undefined || second === undefined) return isSaid(ts, first ?? second)
  const [a, b] = [bareOf(ts, first), bareOf(ts, second)]
  const [sentA, sentB] = [sentBy(ts, a), sentBy(ts, b)]
  if (sentA !== undefined || sentB !== undefined) {
    const [x, y] = [sentA ?? { status: '200', body: a }, sentB ?? { status: '200', body: b }]
    return x.status !== y.status || differ(ts, x.body, y.body)
  }
  if (isLiteral(ts, a) && isLiteral(ts, b)) return a.getText() !== b.getText()
  if (ts.isObjectLiteralExpression(a) && ts.isObjectLiteralExpression(b)) {
    const [x, y] = [fieldsOf(ts, a), fieldsOf(ts, b)]
    return [...new Set([...x.keys(), ...y.keys()])].some((name) => !x.has(name) || !y.has(name) || differ(ts, x.get(name), y.get(name)))
  }
  return isLiteral(ts, a) ? ts.isObjectLiteralExpression(b) : isLiteral(ts, b) && ts.isObjectLiteralExpression(a)
}

const isSaid = (ts: Ts, node: Node | undefined): boolean => node !== undefined && (isLiteral(ts, bareOf(ts, node)) || ts.isObjectLiteralExpression(bareOf(ts, node)) || isSending(ts, bareOf(ts, node)))

function fieldsOf (ts: Ts, object: TypeScript.ObjectLiteralExpression): Map<string, Node> {
  return new Map(object.properties.map((property) => [property.name?.getText() ?? property.getText(), ts.isPropertyAssignment(property) ? property.initializer : property]))
}

/** Whether the function takes the write back itself when it is done: `running = false`, `locked.delete(room)`. Nobody else may be within then. */
function isTakenBack (ts: Ts, scope: Node, write: Node): boolean {
  const target = targetOf(ts, write)
  if (target === undefined) return false
  const visit = (node: Node): boolean => {
    if (node !== scope && (ts.isFunctionLike(node) || ts.isCatchClause(node))) return false
    if (node.pos > write.pos && !isWithin(write, node) && isBack(node)) return true
    return ts.forEachChild(node, (child) => visit(child) || undefined) ?? false
  }
  const isBack = (node: Node): boolean => ts.isCallExpression(node)
    ? ts.isPropertyAccessExpression(node.expression) && node.expression.name.text === 'delete' && node.expression.expression.getText() === target
    : ts.isDeleteExpression(node) ? node.expression.getText() === target : isAssignment(ts, node) && node.left.getText() === target && isLiteral(ts, bareOf(ts, node.right))
  return visit(scope)
}

/** Returns the source of what is assigned, or of the collection whose method is called. */
function targetOf (ts: Ts, write: Node): string | undefined {
  if (isAssignment(ts, write)) return write.left.getText()
  return ts.isCallExpression(write) && ts.isPropertyAccessExpression(write.expression) && ['add', 'set'].includes(write.expression.name.text) ? write.expression.expression.getText() : undefined
}
