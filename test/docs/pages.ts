/**
 * The code blocks of README.md, docs/ and race/README.md as files that can be compiled and run. CONTRIBUTING.md documents the convention:
 *
 * - A `ts` or `js` block is a module of its own. A block with `file=jobs.ts` in its info string is that file, which other blocks of the page
 *   import; blocks of the same file are joined.
 * - unseen.md has, under a page's name, blocks that its readers don't see. The block `ts setup` precedes each block of the page that names no file.
 * - A `console` block is run: `$ node app.ts` runs a file of the page, with `&` as a server, for the `curl` commands that follow it.
 *   `$ kill %1` ends that server with SIGTERM; `$ wait %2` waits for a `curl` that was started with `&`. Output that the block shows is compared; `…` stands for any text.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { root } from '../compiler.ts'

export interface Command {
  command: string
  /** What the page shows below the command; empty if it shows nothing. */
  output: string
}

export interface Page {
  /** Its path from the root, without the extension: `docs/workers`. */
  name: string
  text: string
  /** The text of each file, by name. */
  files: Map<string, string>
  /** The console blocks, with the line where each begins. */
  consoles: Array<{ line: number, commands: Command[] }>
}

const FENCE = /^( *)```(\w*) *(.*)$/
const unseen = readFileSync(new URL('unseen.md', import.meta.url), 'utf8')

export function readPages (): Page[] {
  const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.md')).sort()
  return ['README.md', ...docs.map((file) => join('docs', file)), 'race/README.md'].map((file) => parse(file.slice(0, -3), readFileSync(join(root, file), 'utf8')))
}

function parse (name: string, text: string): Page {
  const page: Page = { name, text, files: new Map(), consoles: [] }
  const [, fromHere = ''] = unseen.split(`\n## ${name}\n`)
  const [hidden = ''] = fromHere.split('\n## ')
  const above = hidden.split('\n')
  const lines = [...above, ...text.split('\n')]
  let setup = ''
  /** Returns the lines up to the one that ends the block, and leaves `at` there. */
  let at = 0
  const untilItsEnd = (): string => {
    const from = at + 1
    do {
      if (++at === lines.length) throw new Error(`${name}, line ${from}: this block has no end`)
    } while (lines[at]?.trim() !== '```')
    return lines.slice(from, at).join('\n') + '\n'
  }
  const add = (file: string, code: string): void => { page.files.set(file, (page.files.get(file) ?? '') + code) }

  for (; at < lines.length; at++) {
    const line = at + 1 - above.length
    const fence = FENCE.exec(lines[at] ?? '')
    if (fence === null) continue
    const [, indent = '', language = '', info] = fence
    const code = untilItsEnd().split('\n').map((line) => line.startsWith(indent) ? line.slice(indent.length) : line).join('\n')
    if (language === 'console') page.consoles.push({ line, commands: commandsOf(code) })
    if (language !== 'ts' && language !== 'js') continue
    const file = fileName(info)
    if (info === 'setup') setup = code
    else if (file === undefined) add(`line-${line}.${language}`, `${setup}${code}export {}\n`)
    else add(file, code)
  }
  return page
}

function fileName (info: string | undefined): string | undefined {
  return /^file=(\S+)$/.exec(info ?? '')?.[1]
}

function commandsOf (code: string): Command[] {
  return code.split(/^\$ /m).slice(1).map((part) => {
    const [command = '', ...output] = part.split('\n')
    return { command, output: output.join('\n').trim() }
  })
}

/** Writes the files of `page` into a folder of its own in `folder`, and returns that folder. */
export function writePage (folder: string, page: Page): string {
  const own = join(folder, page.name)
  for (const [file, code] of page.files) {
    mkdirSync(dirname(join(own, file)), { recursive: true })
    writeFileSync(join(own, file), code)
  }
  return own
}

/** Parsed once for all pages: the declarations of Node, Fastify and the package. */
const parsed = new Map<string, ts.SourceFile | undefined>()

/** JavaScript has no annotations: what follows from their absence isn't a mistake there. */
const IMPLICIT_ANY = [7005, 7006, 7016, 7031, 7034]

/**
 * Compiles the files of `pages`, which `writePage()` wrote into `folder`, as one program with the strict options of this repository.
 * @param conditions the export conditions by which the package is found; none for a package that is installed
 * @returns a text for each mistake
 */
export function compilePages (folder: string, pages: readonly Page[], conditions: string[]): string[] {
  const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config, ts.sys, root)
  delete options.rootDir
  const all: ts.CompilerOptions = { ...options, customConditions: conditions, allowJs: true, checkJs: true, noUnusedLocals: false, noUnusedParameters: false }
  const host = ts.createCompilerHost(all)
  const { getSourceFile } = host
  host.getCurrentDirectory = () => folder
  host.getSourceFile = (name, ...rest) => {
    if (!parsed.has(name)) parsed.set(name, getSourceFile.call(host, name, ...rest))
    return parsed.get(name)
  }
  const files = pages.flatMap((page) => [...page.files.keys()].map((file) => ({ page: page.name, file, path: join(folder, page.name, file) })))
  const program = ts.createProgram(files.map(({ path }) => path), all, host)
  return files.flatMap(({ page, file, path }) => {
    const source = program.getSourceFile(path)
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
      .filter(({ code }) => !/js$/.test(file) || !IMPLICIT_ANY.includes(code))
      .map(({ code, start = 0, messageText }) => {
        const line = source === undefined ? '' : source.text.slice(start).split('\n')[0]
        return `${page}, ${file}: TS${code}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}\n  at: ${line}`
      })
  })
}
