/**
 * What the package costs before its first request: megabytes and packages on disk, and the time to `app.ready()`. The packed package is
 * installed in fresh folders, as users install it. Build first. `--nodes` names further Node binaries for the boot, separated by commas.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { alternate, Report } from './lib/report.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'fastify-concurrency-install-'))
process.once('exit', () => rmSync(scratch, { recursive: true }))

/** @param {string} command @param {string[]} args @param {string} cwd */
const run = (command, args, cwd) => execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })

/** @param {string} name @param {...string} packages */
function install (name, ...packages) {
  const folder = mkdtempSync(join(scratch, `${name}-`))
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', ...packages], folder)
  return folder
}

/** @param {string} folder */
function sizeOf (folder) {
  const modules = join(folder, 'node_modules')
  const { packages } = /** @type {{ packages: object }} */ (JSON.parse(readFileSync(join(modules, '.package-lock.json'), 'utf8')))
  const files = readdirSync(modules, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const bytes = files.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
  return { packages: Object.keys(packages).length, MB: bytes / 1e6 }
}

const JOBS = `
import { defineJobs } from 'fastify-concurrency/jobs'
export const jobs = defineJobs(import.meta.url, { square: { load: async () => (n) => n * n } })
`

/** The applications, each with the lines that it has beyond a bare one. */
const boots = {
  'Fastify alone': '',
  'pool only, 1 thread': "await app.register((await import('fastify-concurrency/workers')).default, { jobs: (await import('./jobs.mjs')).jobs, maxThreads: 1 })",
  'pool only, 2 threads': "await app.register((await import('fastify-concurrency/workers')).default, { jobs: (await import('./jobs.mjs')).jobs, maxThreads: 2 })",
  'limiter only': "await app.register((await import('fastify-concurrency/limiter')).default, { policies: { client: { rate: 10, burst: 20, key: 'address' } } })",
  'suite, no option': "await app.register((await import('fastify-concurrency')).default)",
  'suite, 2 threads, a policy': "await app.register((await import('fastify-concurrency')).default, { workers: { jobs: (await import('./jobs.mjs')).jobs, maxThreads: 2 }, limiter: { policies: { client: { rate: 10, burst: 20, key: 'address' } } } })"
}

/** @typedef {keyof typeof boots} Boot */

/** @param {string} lines */
const program = (lines) => `
import Fastify from 'fastify'
const app = Fastify()
${lines}
app.get('/', async () => 'hello')
await app.ready()
process.stdout.write(String(performance.now()), () => process.exit())
`

const report = new Report('install', { rounds: '25', nodes: '' })
const rounds = report.number('rounds')
const tarball = join(scratch, run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', scratch], root).trim())

const folder = install('both', tarball, 'fastify')
const sizes = {
  fastify: sizeOf(install('fastify', 'fastify')),
  'fastify and fastify-concurrency': sizeOf(folder),
  'fastify-concurrency without its peers': sizeOf(install('alone', '--legacy-peer-deps', tarball)),
  'fastify, piscina and @fastify/rate-limit': sizeOf(install('peers', 'fastify', 'piscina', '@fastify/rate-limit'))
}
report.table('node_modules', Object.entries(sizes).map(([installed, size]) => ({ installed, ...size })))
const own = statSync(tarball).size / 1e6
report.table('The package itself', [{ package: 'packed, MB', MB: own }, { package: 'unpacked, MB', MB: sizeUnpacked() }])

function sizeUnpacked () {
  const files = readdirSync(join(folder, 'node_modules/fastify-concurrency'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return files.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0) / 1e6
}

writeFileSync(join(folder, 'jobs.mjs'), JOBS)
const names = /** @type {Boot[]} */ (Object.keys(boots))
/** @param {Boot} boot */
const fileOf = (boot) => join(folder, `boot-${names.indexOf(boot)}.mjs`)
for (const boot of names) writeFileSync(fileOf(boot), program(boots[boot]))

for (const node of [process.execPath, ...report.list('nodes')]) {
  // A process for each measurement, since a second boot of a process finds everything loaded; one round unmeasured warms the disk's cache.
  // The fastest round, since whatever else the machine does can only add to a boot.
  const measure = async (/** @type {Boot} */ boot) => Number(run(node, [fileOf(boot)], folder))
  await alternate(1, names, measure)
  const times = await alternate(rounds, names, measure)
  const fastest = (/** @type {Boot} */ boot) => Math.min(...times.get(boot) ?? [])
  const bare = fastest('Fastify alone')
  report.table(`From the start of the process to app.ready(), in ms, Node ${run(node, ['--version'], folder).trim()}: fastest of ${rounds} rounds`, names.map((application) => {
    return { application, ms: fastest(application), 'beyond Fastify alone': fastest(application) - bare, '÷ Fastify alone': fastest(application) / bare }
  }))
}
report.end()
