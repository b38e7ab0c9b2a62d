/**
 * Changes the sources in one place at a time, and runs the nearest tests: a mutant that they pass is a rule that no
 * test states. Prints each survivor when it is known, and a count after each ten mutants.
 *
 * Usage: npm run mutants [-- ROOM_OR_FILE …] [--file F] [--line N] [--every N] [--longest S]
 * [--jobs N] [--bar 85]
 * Without arguments: all rooms of rooms.json. A file of no room runs with the test files of the folder of test/ that
 * mirrors its own. `--file` keeps the mutants of the files whose path contains F, `--line` those of one line, and
 * `--every 3` takes each third mutant: a sample that takes a third of the time. `--longest 5` leaves out test files
 * that take more than 5 s, so that mutants survive which those would kill. `--jobs` is how many run at a time.
 *
 * The loader applies a mutant when a process or a thread loads the file. So no file is written, and the processes and
 * threads that a test starts run the mutant as well.
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
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    file: { type: 'string', default: '' },
    line: { type: 'string' },
    every: { type: 'string', default: '1' },
    longest: { type: 'string', default: 'Infinity' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    bar: { type: 'string', default: '85' }
  }
})

const filesIn = (path, ending) => !existsSync(join(root, path))
  ? []
  : statSync(join(root, path)).isDirectory()
    ? readdirSync(join(root, path), { recursive: true })
      .filter((name) => name.endsWith(ending)).map((name) => join(path, name))
    : [path]

/** @returns {{ name: string, files: string[], tests: string[] }} */
function roomOf (name) {
  const room = rooms[name]
  if (room !== undefined) {
    return {
      name,
      files: room.files.flatMap((path) => filesIn(path, '.ts')),
      tests: room.tests.flatMap((path) => filesIn(path, '.test.ts'))
    }
  }
  const home = Object.keys(rooms).map(roomOf).find(({ files }) => files.includes(name))
  const mirror = join('test', dirname(name).replace(/^plugins\/?/, '').replace(/^workers$/, 'host'))
  const namesake = join(mirror, basename(name, '.ts') + '.test.ts')
  const tests = home?.tests ?? [namesake].filter((path) => existsSync(join(root, path)))
  return { name, files: [name], tests: tests.length > 0 ? tests : filesIn(mirror, '.test.ts') }
}

/** Resolves to whether the test file passes. What it has started ends with it. */
function passes (test, ms, mutant) {
  return new Promise((resolve) => {
    const preload = ['--conditions=fastify-concurrency-source', '--import', './loader/typescript.js']
    const child = spawn(process.execPath, [...preload, test], {
      cwd: root,
      detached: true,
      stdio: 'ignore',
      env: {
        ...process.env,
        TAP: '1',
        TAP_BAIL: '1',
        TAP_TIMEOUT: '600',
        ...(mutant !== undefined && { FC_MUTANT: JSON.stringify(mutant) })
      }
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

/** Orders test files: first the one named like the source file, then the quick ones. */
const nearestFirst = (limits, file) => [...limits].sort(([one, oneMs], [other, otherMs]) =>
  Number(isNamedLike(other, file)) - Number(isNamedLike(one, file)) || oneMs - otherMs)

const isNamedLike = (test, file) => basename(test, '.test.ts') === basename(file, '.ts')

async function run ({ name, files, tests }) {
  if (files.length === 0 || tests.length === 0) {
    throw new Error(`${name}: no ${files.length === 0 ? 'source' : 'test'} files`)
  }
  const limits = new Map()
  for (const test of tests) {
    const startedAt = performance.now()
    if (!await passes(test, 600_000)) throw new Error(`${test} fails without a mutant`)
    const ms = performance.now() - startedAt
    if (ms <= Number(values.longest) * 1_000) limits.set(test, 10_000 + 5 * ms)
  }
  const sources = new Map(files.filter((file) => file.includes(values.file))
    .map((file) => [file, readFileSync(join(root, file), 'utf8')]))
  const mutants = [...sources].flatMap(([file, source]) =>
    mutationsOf(file, source).map((mutation) => ({ file, ...mutation })))
    .filter(({ line }) => values.line === undefined || line === Number(values.line))
    .filter((_, index) => index % Number(values.every) === 0)
  const left = [...mutants]
  let killed = 0
  let tried = 0
  await Promise.all(Array.from({ length: Number(values.jobs) }, async () => {
    for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
      const { file, line, start, end, text } = mutant
      let isAlive = true
      for (const [test, ms] of nearestFirst(limits, file)) {
        isAlive &&= await passes(test, ms, { ...mutant, file: join(root, file) })
      }
      tried++
      if (!isAlive) killed++
      else console.log(`  ${file}:${line}: ${sources.get(file).slice(start, end).split('\n')[0]} -> ${text}`)
      if (tried % 10 === 0) console.log(`${name}: ${killed} of ${tried} killed, ${left.length} to go`)
    }
  }))
  const share = tried === 0 ? 100 : killed / tried * 100
  console.log(`${name}: ${killed} of ${tried} mutants killed (${share.toFixed(1)} %)`)
  if (share < Number(values.bar)) process.exitCode = 1
}

for (const name of positionals.length > 0 ? positionals : Object.keys(rooms)) await run(roomOf(name))
