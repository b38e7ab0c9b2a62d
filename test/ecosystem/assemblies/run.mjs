/**
 * Runs real applications, made of others' parts with our suite registered, as processes: clients leave in the middle of their requests, and
 * SIGTERM comes in the middle of others.
 *
 * Usage: node test/ecosystem/assemblies/run.mjs <tarball> [name …]
 */
import { transformSync } from 'esbuild'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { cached, npm } from '../install.mjs'
import { checker } from './process.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const cache = process.env.FC_ECOSYSTEM_CACHE ?? join(homedir(), '.cache', 'fastify-concurrency', 'ecosystem')
const { before } = JSON.parse(readFileSync(join(here, '../suites.json'), 'utf8'))
const { positionals: [tarball, ...names] } = parseArgs({ allowPositionals: true })

const hash = (content) => createHash('sha256').update(content).digest('hex').slice(0, 16)

/** The others' parts, and in a folder inside theirs the suite, which finds the same fastify as they do. */
function install () {
  const parts = readFileSync(join(here, 'parts.json'), 'utf8')
  const folder = cached(join(cache, `assemblies-${hash(parts + before + process.versions.modules)}`), (partial) => {
    writeFileSync(join(partial, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies: JSON.parse(parts) }))
    npm(partial, 'install', `--before=${before}`)
  })
  return cached(join(folder, `ours-${hash(readFileSync(tarball))}`), (partial) => {
    writeFileSync(join(partial, 'package.json'), '{ "private": true, "type": "module" }')
    npm(partial, 'install', '--omit=peer', `--before=${before}`, resolve(tarball))
  })
}

/** Copies the assemblies to where the parts are found. esbuild compiles TypeScript, as an application's own build would. */
function build (folder) {
  cpSync(here, folder, { recursive: true })
  for (const file of readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.ts'))) {
    const { code } = transformSync(readFileSync(join(folder, file), 'utf8'), { loader: 'ts', tsconfigRaw: { compilerOptions: { experimentalDecorators: true } } })
    writeFileSync(join(folder, file.replace(/\.ts$/, '.js')), code)
  }
}

const folder = mkdtempSync(join(install(), 'run-'))
try {
  build(folder)
  const all = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory() && entry.name !== 'shared').map(({ name }) => name)
  // Most of the time they wait.
  await Promise.all((names.length > 0 ? names : all).map(async (name) => {
    const { default: run } = await import(pathToFileURL(join(folder, name, 'checks.mjs')))
    await run(checker(name, join(folder, name)))
  }))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
