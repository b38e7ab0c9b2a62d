/**
 * Node's `load` hook for TypeScript: esbuild strips the types of each file once, and the result is kept by the file's
 * content. A loader that compiles (tsx, ts-node) costs each process and each thread 0.2 to 2 seconds of processor time;
 * a test run has hundreds.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const cache = fileURLToPath(new URL('../node_modules/.cache/fastify-concurrency/', import.meta.url))
const { version } = require('esbuild/package.json')

/**
 * `npm run mutants` runs tests with one place of one file changed: in each process and thread, which inherit the
 * variable.
 */
const mutant = process.env['FC_MUTANT'] === undefined ? undefined : JSON.parse(process.env['FC_MUTANT'])

/** @param {string} path @param {string} text */
function strip (path, text) {
  return require('esbuild').transformSync(text, {
    loader: 'ts',
    target: 'node20',
    // Without its folder: a source map names its source relative to the module, so that copies of the project share
    // results.
    sourcefile: basename(path),
    sourcemap: 'inline',
    sourcesContent: false,
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } }
  }).code
}

/** @param {string} path @param {string} text */
function compile (path, text) {
  const file = `${cache}${createHash('sha256').update(`${version}\n${basename(path)}\n${text}`).digest('hex')}.js`
  try {
    return readFileSync(file, 'utf8')
  } catch {
    const code = strip(path, text)
    mkdirSync(cache, { recursive: true })
    // Another process may be reading: a file is there as a whole or not at all.
    const partial = `${file}.${process.pid}.${Math.random()}`
    writeFileSync(partial, code)
    renameSync(partial, file)
    return code
  }
}

/** @type {import('node:module').LoadHookSync} */
export function load (url, context, nextLoad) {
  if (!url.startsWith('file:') || !new URL(url).pathname.endsWith('.ts')) return nextLoad(url, context)
  const path = fileURLToPath(url)
  if (path === mutant?.file) {
    const text = readFileSync(path, 'utf8')
    const source = strip(path, text.slice(0, mutant.start) + mutant.text + text.slice(mutant.end))
    return { format: 'module', source, shortCircuit: true }
  }
  return { format: 'module', source: compile(path, readFileSync(path, 'utf8')), shortCircuit: true }
}
