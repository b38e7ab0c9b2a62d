/**
 * Rewrites one use of a variable or a field so that it tells of itself. What the source does stays as it is, in the same order and as often: the
 * object of a longer path is read once, held, and taken from there before any other code can run.
 */
import type * as TypeScript from 'typescript'
import type { Ts } from '../source/parse.ts'
import type { Edits } from './edits.ts'
import { dressed, isAssignmentToken, isInNew, isInPattern, isNameless, isUpdate } from './syntax.ts'

type Node = TypeScript.Node

/** The object that was held last. */
export const HELD = '$$race.held()'

/** A variable, or a field of an object. */
export interface Place {
  /** The expression to assign to: `count`, `this.count`, `$$race.hold(this.a).count`. */
  readonly text: string
  /** An expression for its cell, see runtime.ts. Of an object that is held, one that takes it from there. */
  readonly cell: string
  /** What stands around the object of a path that is to be held, as an expression for the cell. */
  readonly holds?: readonly [before: string, after: string]
  /** The object of a path that is to be held, in the source and as JavaScript. */
  readonly object?: { readonly node: Node, readonly text: string }
  /** Whether the runtime can't read it, as it reads a field of an object: a variable, a private field. */
  readonly isHidden: boolean
  /** What follows the object that is held: `.count`. */
  readonly rest?: string
}

/** @param file for the positions of nodes */
export function rewriteUse (ts: Ts, file: TypeScript.SourceFile, edits: Edits, use: Node, place: Place): void {
  const { text, cell, holds, object, isHidden, rest = '' } = place
  const target = dressed(ts, use)
  const { parent } = target
  /** The value, where the object is held already. */
  const again = holds === undefined ? text : `${HELD}${rest}`
  const before = isHidden ? `, ${again}` : ''
  const [start, end] = [use.getStart(file), use.end]
  /** Stands for the place where the value is read and written by other means than `=`. */
  const stand = (): string => {
    const accessors = (at: string): string => `($$value) => { ${at} = $$value }, () => ${at}`
    return holds === undefined
      ? `$$race.target(${cell}, ${accessors(text)}).value`
      : `$$race.target(${holds.join(object?.text)}, ...(($$object) => [${accessors(`$$object${rest}`)}])(${HELD})).value`
  }
  if (isInPattern(ts, use)) {
    edits.replace(start, end, ts.isShorthandPropertyAssignment(parent) ? `${text}: ${stand()}` : stand())
  } else if (ts.isBinaryExpression(parent) && parent.left === target && isAssignmentToken(ts, parent.operatorToken.kind)) {
    const { operatorToken: token, right } = parent
    const operator = token.getText(file).slice(0, -1)
    if (operator === '') {
      if (holds !== undefined) edits.replace(target.getStart(file), target.end, text)
      // A function without a name has the name of the variable that it is assigned to, and only if it is assigned itself.
      const [open, close] = ts.isIdentifier(target) && isNameless(ts, right) ? [`({ ${text}: `, ` }).${text}`] : ['', '']
      edits.around(right.getStart(file), right.end, `$$race.write(${cell}, ${open}`, `${close}${before})`, token.getStart(file))
    } else if (holds !== undefined) {
      edits.replace(target.getStart(file), target.end, stand())
    } else if (['??', '||', '&&'].includes(operator)) {
      // It must not begin with a parenthesis: a line before that has no semicolon would call it.
      edits.replace(target.getStart(file), token.end, `$$race.read(${cell}, ${text}) ${operator} (${text} = $$race.write(${cell},`, { end: right.end, text: `${before}))` })
    } else {
      edits.replace(token.getStart(file), token.end, `= $$race.write(${cell}, $$race.read(${cell}, ${text}) ${operator} (`, { end: right.end, text: `)${before})` })
    }
  } else if ((ts.isPrefixUnaryExpression(parent) || ts.isPostfixUnaryExpression(parent)) && isUpdate(ts, parent)) {
    const by = parent.operator === ts.SyntaxKind.PlusPlusToken ? 1 : -1
    if (holds === undefined && ts.isExpressionStatement(parent.parent)) {
      edits.replace(parent.getStart(file), parent.end, `${text} = $$race.write(${cell}, $$race.step($$race.read(${cell}, ${text}), ${by})${before})`)
    } else edits.replace(target.getStart(file), target.end, stand())
  } else if (ts.isShorthandPropertyAssignment(parent)) {
    edits.around(start, end, '', `: $$race.read(${cell}, ${text})`)
  } else {
    const [open, close] = isInNew(ts, use) ? ['(', ')'] : ['', '']
    if (holds === undefined || object === undefined) return edits.around(start, end, `${open}$$race.read(${cell}, `, `)${close}`)
    edits.around(start, object.node.end, `${open}$$race.read(${holds[0]}`, `${holds[1]}, ${again})${close}`)
    edits.replace(object.node.end, end, '')
  }
}
