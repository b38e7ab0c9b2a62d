/** Rewrites one use of a variable or a field so that it tells of itself. What the source does stays as it is, in the same order. */
import type * as TypeScript from 'typescript'
import type { Ts } from '../source/parse.ts'
import type { Edits } from './edits.ts'
import { dressed, isAssignmentToken, isInPattern, isNameless, isUpdate } from './syntax.ts'

type Node = TypeScript.Node

/** A variable, or a field of an object. */
export interface Place {
  /** Its path, see pathOf(): `count`, `this.count`. */
  readonly text: string
  /** An expression for its cell, see runtime.ts. */
  readonly cell: string
  /** Whether the runtime can't read it, as it reads a field of an object: a variable, a private field. */
  readonly isHidden: boolean
}

/** @param file for the positions of nodes */
export function rewriteUse (ts: Ts, file: TypeScript.SourceFile, edits: Edits, use: Node, { text, cell, isHidden }: Place): void {
  const target = dressed(ts, use)
  const { parent } = target
  const read = `$$race.read(${cell}, ${text})`
  const before = isHidden ? `, ${text}` : ''
  if (isInPattern(ts, use)) {
    const stand = `$$race.target(${cell}, ($$value) => { ${text} = $$value }${before}).value`
    edits.replace(use.getStart(file), use.end, ts.isShorthandPropertyAssignment(parent) ? `${text}: ${stand}` : stand)
  } else if (ts.isBinaryExpression(parent) && parent.left === target && isAssignmentToken(ts, parent.operatorToken.kind)) {
    const { operatorToken: token, right } = parent
    const operator = token.getText(file).slice(0, -1)
    if (operator === '') {
      // A function without a name has the name of the variable that it is assigned to, and only if it is assigned itself.
      const [open, close] = ts.isIdentifier(target) && isNameless(ts, right) ? [`({ ${text}: `, ` }).${text}`] : ['', '']
      edits.around(right.getStart(file), right.end, `$$race.write(${cell}, ${open}`, `${close}${before})`, token.getStart(file))
    } else if (['??', '||', '&&'].includes(operator)) {
      // It must not begin with a parenthesis: a line before that has no semicolon would call it.
      edits.replace(target.getStart(file), token.end, `${read} ${operator} (${text} = $$race.write(${cell},`, { end: right.end, text: `${before}))` })
    } else {
      edits.replace(token.getStart(file), token.end, `= $$race.write(${cell}, ${read} ${operator} (`, { end: right.end, text: `)${before})` })
    }
  } else if ((ts.isPrefixUnaryExpression(parent) || ts.isPostfixUnaryExpression(parent)) && isUpdate(ts, parent)) {
    const by = parent.operator === ts.SyntaxKind.PlusPlusToken ? 1 : -1
    const changed = `${text} = $$race.write(${cell}, $$race.step(${read}, ${by})${before})`
    const old = ts.isPostfixUnaryExpression(parent) ? -by : 0
    edits.replace(parent.getStart(file), parent.end, ts.isExpressionStatement(parent.parent) ? changed : `$$race.step(${changed}, ${old})`)
  } else if (ts.isShorthandPropertyAssignment(parent)) {
    edits.around(use.getStart(file), use.end, '', `: ${read}`)
  } else {
    const [open, close] = ts.isNewExpression(parent) && parent.expression === use ? ['(', ')'] : ['', '']
    edits.around(use.getStart(file), use.end, `${open}$$race.read(${cell}, `, `)${close}`)
  }
}
