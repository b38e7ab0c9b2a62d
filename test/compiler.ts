/** The TypeScript compiler on the sources, for tests of what it sees. */
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** @param config path of a tsconfig.json, from the root; `virtual` adds or replaces files, by their path from there */
export function program (config: string, virtual: Readonly<Record<string, string>> = {}): ts.Program {
  const path = join(root, config)
  const { options, fileNames } = ts.parseJsonConfigFileContent(ts.readConfigFile(path, ts.sys.readFile).config, ts.sys, dirname(path))
  const texts = new Map(Object.entries(virtual).map(([file, text]) => [join(root, file), text]))
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = (file) => texts.has(file) || fileExists(file)
  host.readFile = (file) => texts.get(file) ?? readFile(file)
  return ts.createProgram([...fileNames, ...texts.keys()], options, host)
}

/** What is wrong with a file: `TS2322: …`, one string a diagnostic, a line for each step of its explanation. */
export function errors (program: ts.Program, file: string): string[] {
  return program.getSemanticDiagnostics(program.getSourceFile(join(root, file)))
    .map(({ code, messageText }) => `TS${code}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`)
}

/** The names that a module exports, types included. */
export function exportsOf (program: ts.Program, file: string): { values: string[], types: string[] } {
  const checker = program.getTypeChecker()
  const source = program.getSourceFile(join(root, file))
  const module = source && checker.getSymbolAtLocation(source)
  if (module === undefined) throw new Error(`${file} is no module of the program`)
  const symbols = checker.getExportsOfModule(module)
    // What stripInternal keeps out of the package.
    .filter((symbol) => !symbol.getJsDocTags(checker).some(({ name }) => name === 'internal'))
  const isValue = (symbol: ts.Symbol): boolean => {
    const typeOnly = symbol.declarations?.some((declaration) => ts.isTypeOnlyImportOrExportDeclaration(declaration)) ?? false
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
    return !typeOnly && (target.flags & ts.SymbolFlags.Value) !== 0
  }
  const names = (wanted: boolean): string[] => symbols.filter((symbol) => isValue(symbol) === wanted).map(({ name }) => name).sort()
  return { values: names(true), types: names(false) }
}
