/**
 * The public API as a text: each declaration that an application can reach from an export, as the package declares it, without comments. A change of
 * the API is seen as a change of test/api.txt. `npm run api` writes that file; exports.test.ts compares it.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import ts from 'typescript'
import { program, root } from './compiler.ts'

export const apiFile = join(root, 'test', 'api.txt')

/** Compiles the declarations of the package, which are made in memory. */
function declarationsOf (sources: ts.Program): ts.Program {
  const options = sources.getCompilerOptions()
  const files = new Map<string, string>()
  sources.emit(undefined, (name, text) => files.set(resolve(name), text), undefined, true)
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = (name) => files.has(resolve(name)) || (!resolve(name).startsWith(join(root, 'dist')) && fileExists(name))
  host.readFile = (name) => files.get(resolve(name)) ?? readFile(name)
  // In a fresh clone there is no folder of the declarations, and the compiler would look for nothing in it.
  delete host.directoryExists
  host.getSourceFile = (name, version) => {
    const text = host.readFile(name)
    return text === undefined ? undefined : ts.createSourceFile(name, text, version, true)
  }
  return ts.createProgram([...files.keys()], options, host)
}

/** @param entries the source of each subpath, from the root */
export function apiOf (sources: ts.Program, entries: ReadonlyArray<readonly [subpath: string, source: string]>): string {
  const compiled = declarationsOf(sources)
  const checker = compiled.getTypeChecker()
  const printer = ts.createPrinter({ removeComments: true })
  const own = join(root, 'dist')
  const aliased = (symbol: ts.Symbol): ts.Symbol => symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
  const isOwn = (node: ts.Node): boolean => resolve(node.getSourceFile().fileName).startsWith(own)
  /** The declarations of a symbol, as statements of their own. */
  const statementsOf = (symbol: ts.Symbol): ts.Node[] => (symbol.declarations ?? []).filter(isOwn)
    .map((node) => ts.isVariableDeclaration(node) ? node.parent.parent : node)
    .filter((node) => ts.isVariableStatement(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node) || ts.isClassDeclaration(node) ||
      ts.isFunctionDeclaration(node) || ts.isExportAssignment(node))

  const texts: string[] = []
  const seen = new Map<ts.Symbol, { text: string, name: string, from: string[] }>()
  const visit = (symbol: ts.Symbol, name: string, isExported = false): void => {
    // A class that isn't exported is met in the constructors of others, which applications don't call.
    if (seen.has(symbol) || (!isExported && (symbol.flags & ts.SymbolFlags.Class) !== 0)) return
    const statements = statementsOf(symbol)
    if (statements.length === 0) return
    const entry = { name, text: '', from: [] as string[] }
    seen.set(symbol, entry)
    const found = statements.map((node) => printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile()).replace(/^export (default )?|^declare /gm, ''))
    entry.text = [...new Set(found)].sort().join('\n')
    const walk = (node: ts.Node): void => {
      // What a class keeps to itself is no API.
      if (ts.isPropertyDeclaration(node) && ts.isPrivateIdentifier(node.name)) return
      if (ts.isIdentifier(node)) {
        const used = checker.getSymbolAtLocation(node)
        if (used !== undefined) visit(aliased(used), aliased(used).name)
      }
      ts.forEachChild(node, walk)
    }
    statements.forEach(walk)
  }
  for (const [subpath, source] of entries) {
    const file = compiled.getSourceFile(join(own, source.replace(/\.ts$/, '.d.ts')))
    if (file === undefined) throw new Error(`${source} has no declarations`)
    const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(file)!)
    texts.push(`${subpath}: ${exported.map(({ name }) => name).sort().join(', ')}`)
    for (const each of exported) {
      const symbol = aliased(each)
      visit(symbol, each.name === 'default' ? `default of ${subpath}` : symbol.name, true)
      seen.get(symbol)?.from.push(subpath)
    }
  }
  const entriesByName = [...seen.values()].filter(({ text }) => text !== '')
    .map(({ name, text, from }) => `${from.length === 0 ? '(not exported) ' : ''}${name}\n${text}`)
    .sort((a, b) => a < b ? -1 : 1)
  return [texts.join('\n'), ...entriesByName].join('\n\n') + '\n'
}

/** The source of each subpath that has one. */
export function sourcesOf (exports: Readonly<Record<string, unknown>>): Array<[subpath: string, source: string]> {
  return Object.entries(exports).flatMap(([subpath, conditions]) => typeof conditions === 'object' && conditions !== null
    ? [[subpath, (conditions as Record<string, string>)['fastify-concurrency-source'] ?? ''] as [string, string]]
    : [])
}

if (process.argv[1] === import.meta.filename) {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, unknown> }
  writeFileSync(apiFile, apiOf(program('tsconfig.build.json'), sourcesOf(exports)))
}
