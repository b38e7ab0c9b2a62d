/** What modules import from each other: a variable that one module declares, and another one reads. */
import { fileURLToPath, pathToFileURL } from 'node:url'
import type * as TypeScript from 'typescript'
import type { Ts } from '../source/parse.ts'
import { functionOf, type Scopes } from './scopes.ts'
import { dressed, isCalledOrChained } from './syntax.ts'

/** Names a module in the registry of runtime.ts. TypeScript's sources import each other by the names that they will have, so no extension counts. */
export const moduleKey = (path: string): string => path.replace(/\.[cm]?[jt]sx?$/, '')

function importedKey (ts: Ts, path: string, specifier: TypeScript.Node | undefined): string | undefined {
  if (specifier === undefined || !ts.isStringLiteral(specifier) || !/^\.\.?\//.test(specifier.text)) return undefined
  return moduleKey(fileURLToPath(new URL(specifier.text.replace(/[?#].*/, ''), pathToFileURL(path))))
}

/** Uses of a variable that is imported. */
export interface Imported {
  readonly key: string
  /** As the other module exports it. */
  readonly name: string
  readonly uses: readonly TypeScript.Identifier[]
}

/** Returns the uses of what a module imports from others of the application, in functions. What is called or looked into is tracked where it is made. */
export function importsOf (ts: Ts, file: TypeScript.SourceFile, path: string, scopes: Scopes): Imported[] {
  return file.statements.flatMap((statement): Imported[] => {
    if (!ts.isImportDeclaration(statement) || statement.importClause?.isTypeOnly === true) return []
    const key = importedKey(ts, path, statement.moduleSpecifier)
    const bindings = statement.importClause?.namedBindings
    if (key === undefined || bindings === undefined || !ts.isNamedImports(bindings)) return []
    return bindings.elements.filter(({ isTypeOnly }) => !isTypeOnly).map((element) => ({
      key,
      name: (element.propertyName ?? element.name).text,
      uses: scopes.usesOf(element, element.name.text).filter((use) => functionOf(ts, use) !== undefined && !isCalledOrChained(ts, use) && !isLookedInto(ts, use))
    }))
  })
}

function isLookedInto (ts: Ts, use: TypeScript.Node): boolean {
  const object = dressed(ts, use)
  return ts.isElementAccessExpression(object.parent) || (ts.isPropertyAccessExpression(object.parent) && object.parent.expression === object)
}

/** Returns the names by which a module exports a variable of its own. */
export function exportsOf (ts: Ts, file: TypeScript.SourceFile, name: string, isExported: boolean): string[] {
  const names = file.statements.flatMap((statement) => ts.isExportDeclaration(statement) && statement.moduleSpecifier === undefined && statement.exportClause !== undefined && ts.isNamedExports(statement.exportClause)
    ? statement.exportClause.elements.filter(({ propertyName, name: { text } }) => (propertyName?.text ?? text) === name).map(({ name: { text } }) => text)
    : [])
  return isExported ? [name, ...names] : names
}

/** Returns calls that tell of what a module exports from others: `export { balance } from './state.mjs'`. */
export function passedOn (ts: Ts, file: TypeScript.SourceFile, path: string): string {
  const own = moduleKey(path)
  return file.statements.map((statement) => {
    const from = ts.isExportDeclaration(statement) && !statement.isTypeOnly ? importedKey(ts, path, statement.moduleSpecifier) : undefined
    if (from === undefined || !ts.isExportDeclaration(statement)) return ''
    const { exportClause: clause } = statement
    const names = clause === undefined ? [['*', '*']] : ts.isNamedExports(clause) ? clause.elements.map(({ propertyName, name }) => [name.text, (propertyName ?? name).text]) : []
    return names.map(([name, original]) => `$$race.passOn(${[own, name, from, original].map((text) => JSON.stringify(text)).join(', ')});`).join('')
  }).join('')
}
