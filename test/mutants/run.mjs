/**
 * Changes the sources in one place at a time, and runs the nearest tests: a mutant that they pass is a rule that no test states.
 *
 * Usage: npm run mutants [-- ROOM_OR_FILE …] [--line N] [--bar 85]
 * Without arguments: all rooms of rooms.json. A file of no room runs with the test files of the folder of test/ that mirrors its own.
 *
 * The loader applies a mutant when a process or a thread loads the file. So no file is written, and the processes and threads that a test starts
 * run the mutant as well.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { mutationsOf } from './mutations.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const rooms = JSON.parse(readFileSync(new URL('rooms.json', import.meta.url), 'utf8'))
const { values, positionals } = parseArgs({ allowPositionals: true, options: { line: { type: 'string' }, bar: { type: 'string', default: '85' } } })

const filesIn = (path, ending) => !existsSync(join(root, path))
  ? []
  : statSync(join(root, path)).isDirectory()
    ? readdirSync(join(root, path), { recursive: true }).filter((name) => name.endsWith(ending)).map((name) => join(path, name))
    : [path]

/** @returns {{ name: string, files: string[], tests: string[] }} */
function roomOf (name) {
  const room = rooms[name]
  if (room !== undefined) {
    return { name, files: room.files.flatMap((path) => filesIn(path, '.ts')), tests: room.tests.flatMap((path) => filesIn(path, '.test.ts')) }
  }
  const home = Object.keys(rooms).map(roomOf).find(({ files }) => files.includes(name))
  const mirror = join('test', dirname(name).replace(/^plugins\/?/, '').replace(/^workers$/, 'host'))
  const tests = home?.tests ?? [join(mirror, basename(name, '.ts') + '.test.ts')].filter((path) => existsSync(join(root, path)))
  return { name, files: [name], tests: tests.length > 0 ? tests : filesIn(mirror, '.test.ts') }
}

/** Resolves to whether the test file passes. What it has started ends with it. */
function passes (test, ms, mutant) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--conditions=fastify-concurrency-source', '--import', './loader/typescript.js', test], {
      cwd: root,
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, TAP: '1', TAP_BAIL: '1', ...(mutant !== undefined && { FC_MUTANT: JSON.stringify(mutant) }) }
    })
    const end = () => { try { process.kill(-child.pid, 'SIGKILL') } catch {} }
    const timer = setTimeout(end, ms)
    child.on('exit', (code) => {
      clearTimeout(timer)
      end()
      resolve(code === 0)
    })
  })
}

async function run ({ name, files, tests }) {
  if (files.length === 0 || tests.length === 0) throw new Error(`${name}: no ${files.length === 0 ? 'source' : 'test'} files`)
  const limits = new Map()
  for (const test of tests) {
    const startedAt = performance.now()
    if (!await passes(test, 120_000)) throw new Error(`${test} fails without a mutant`)
    limits.set(test, 10_000 + 5 * (performance.now() - startedAt))
  }
  const quickFirst = [...limits].sort(([, one], [, other]) => one - other)
  const mutants = files.flatMap((file) => mutationsOf(file, readFileSync(join(root, file), 'utf8')).map((mutation) => ({ file, ...mutation })))
    .filter(({ line }) => values.line === undefined || line === Number(values.line))
  const survivors = []
  const left = [...mutants]
  await Promise.all(Array.from({ length: availableParallelism() }, async () => {
    for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
      let isAlive = true
      for (const [test, ms] of quickFirst) isAlive &&= await passes(test, ms, { ...mutant, file: join(root, mutant.file) })
      if (isAlive) survivors.push(mutant)
    }
  }))
  for (const { file, line, start, end, text } of survivors.sort((one, other) => one.file.localeCompare(other.file) || one.start - other.start)) {
    console.log(`  ${file}:${line}: ${readFileSync(join(root, file), 'utf8').slice(start, end).split('\n')[0]} -> ${text}`)
  }
  const killed = mutants.length - survivors.length
  const share = mutants.length === 0 ? 100 : killed / mutants.length * 100
  console.log(`${name}: ${killed} of ${mutants.length} mutants killed (${share.toFixed(1)} %)`)
  if (share < Number(values.bar)) process.exitCode = 1
}

for (const name of positionals.length > 0 ? positionals : Object.keys(rooms)) await run(roomOf(name))
