// The house: the rooms that CONTRIBUTING's map names, how many files a room holds, and which way imports go.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { root } from './compiler.ts'

/** The paths of a tree of folders and files, from its drawing: two spaces a level, the name, then what it is for. */
function drawnFolders (drawing: string): string[] {
  const path: string[] = []
  const folders: string[] = []
  for (const line of drawing.split('\n')) {
    const [, indent = '', name] = /^( *)([a-z-]+)\/ /.exec(line) ?? []
    if (name === undefined) continue
    path.splice(indent.length / 2, Infinity, name)
    folders.push(path.join('/'))
  }
  return folders
}

function foldersUnder (top: string): string[] {
  return readdirSync(join(root, top), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
}

const filesIn = (folder: string): string[] => readdirSync(join(root, folder), { withFileTypes: true }).filter((entry) => entry.isFile()).map(({ name }) => name)

t.test('CONTRIBUTING\'s map names each folder of plugins/, and none that isn\'t there', async (t) => {
  const [, drawing = ''] = /## Tree\n```\n([^]*?)```/.exec(readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8')) ?? []
  t.strictSame(drawnFolders(drawing).filter((folder) => folder.startsWith('plugins/')).sort(), foldersUnder('plugins').sort())
})

/** A folder that holds more is two ideas. */
const MOST_FILES = 14

t.test(`no folder of plugins/ or workers/ holds more than ${MOST_FILES} files`, async (t) => {
  const folders = ['plugins', 'workers', ...foldersUnder('plugins'), ...foldersUnder('workers')]
  t.strictSame(folders.filter((folder) => filesIn(folder).length > MOST_FILES), [])
})

/** The files that a file imports or re-exports, types included. */
function importsOf (file: string): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(root, file), 'utf8'))
  return importedFiles.map(({ fileName }) => fileName)
    .filter((name) => name.startsWith('.') && name.endsWith('.ts'))
    .map((name) => normalize(join(dirname(file), name)).replaceAll('\\', '/'))
}

/** Returns the circles of a graph that a depth-first walk meets; none if and only if there is none. */
function circlesOf (graph: ReadonlyMap<string, readonly string[]>): string[] {
  const circles: string[] = []
  const done = new Set<string>()
  function visit (node: string, path: readonly string[]): void {
    if (path.includes(node)) circles.push([...path.slice(path.indexOf(node)), node].join(' → '))
    if (path.includes(node) || done.has(node)) return
    for (const next of graph.get(node) ?? []) visit(next, [...path, node])
    done.add(node)
  }
  for (const node of graph.keys()) visit(node, [])
  return circles
}

t.test('no file of plugins/ or workers/ imports itself by way of others, types included', async (t) => {
  t.strictSame(circlesOf(new Map([['a', ['b']], ['b', ['c']], ['c', ['b']]])), ['b → c → b'], 'the walk finds circles')
  const files = ['plugins', 'workers'].flatMap((top) => readdirSync(join(root, top), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts')).map((file) => join(top, file).replaceAll('\\', '/')))
  const graph = new Map(files.map((file) => [file, importsOf(file)]))
  t.ok(graph.get('plugins/index.ts')?.includes('plugins/lifecycle/index.ts'))
  t.strictSame(circlesOf(graph), [])
})
