/** Lists what a source file may be changed to, one place at a time, on its syntax tree. */
import ts from 'typescript'

const operators = new Map([
  ['<', ['<=', '>=']], ['<=', ['<', '>']], ['>', ['>=', '<=']], ['>=', ['>', '<']],
  ['===', ['!==']], ['!==', ['===']], ['&&', ['||']], ['||', ['&&']],
  ['+', ['-']], ['-', ['+']], ['*', ['/']], ['/', ['*']], ['+=', ['-=']], ['-=', ['+=']]
])
const opposites = new Map([['min', 'max'], ['max', 'min'], ['ceil', 'floor'], ['floor', 'ceil'], ['shift', 'pop'], ['push', 'unshift'], ['some', 'every'], ['every', 'some']])

/** @returns {Array<{ start: number, end: number, text: string, line: number }>} each replaces the text from start to end */
export function mutationsOf (file, source) {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true)
  const found = []
  const replace = (node, text) => found.push({
    start: node.getStart(tree),
    end: node.getEnd(),
    text,
    line: tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1
  })
  const visit = (node) => {
    if (ts.isImportDeclaration(node) || ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return
    // What an error says isn't what it decides.
    if (ts.isThrowStatement(node) || ts.isTemplateExpression(node)) return
    if (ts.isBinaryExpression(node)) {
      for (const text of operators.get(node.operatorToken.getText(tree)) ?? []) replace(node.operatorToken, text)
      if (node.operatorToken.kind === ts.SyntaxKind.QuestionQuestionToken) replace(node, node.left.getText(tree))
    } else if (ts.isPrefixUnaryExpression(node) && node.operator === ts.SyntaxKind.ExclamationToken) {
      replace(node, node.operand.getText(tree))
    } else if ((ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) && [ts.SyntaxKind.PlusPlusToken, ts.SyntaxKind.MinusMinusToken].includes(node.operator)) {
      replace(node, node.getText(tree).replace(/\+\+|--/, (operator) => operator === '++' ? '--' : '++'))
    } else if (ts.isIfStatement(node) || ts.isConditionalExpression(node)) {
      const condition = ts.isIfStatement(node) ? node.expression : node.condition
      for (const text of ['true', 'false']) replace(condition, text)
    } else if (ts.isExpressionStatement(node) && ts.isCallExpression(node.expression) && node.expression.expression.kind !== ts.SyntaxKind.SuperKeyword) {
      replace(node, ';')
    } else if (ts.isNumericLiteral(node)) {
      // No test may tell a bound of 100 ms from one of 101, but one of 200.
      replace(node, Number(node.text) < 10 ? `(${node.text} + 1)` : `(${node.text} * 2)`)
    } else if (node.kind === ts.SyntaxKind.TrueKeyword || node.kind === ts.SyntaxKind.FalseKeyword) {
      replace(node, node.kind === ts.SyntaxKind.TrueKeyword ? 'false' : 'true')
    } else if (ts.isPropertyAccessExpression(node) && ts.isCallExpression(node.parent) && opposites.has(node.name.text)) {
      replace(node.name, opposites.get(node.name.text))
    }
    ts.forEachChild(node, visit)
  }
  visit(tree)
  return found
}
