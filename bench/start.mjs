/**
 * Measures what a thread of our pool costs beyond a bare thread of piscina: the time until it takes jobs, and memory. Each measurement has a process
 * of its own, because a second pool in the same process finds everything loaded.
 */
import { execFileSync } from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { alternate, median, Report } from './lib/report.mjs'

const FEW = 1
const MANY = 5

/** Each function starts a pool and returns how long its threads took until they could take jobs, in ms. */
const starts = {
  /** @param {number} threads */
  async ours (threads) {
    const { default: Fastify } = await import('fastify')
    const { default: concurrency } = await import('fastify-concurrency')
    const { jobs } = await import('./one-job.mjs')
    let ms = 0
    subscribe('fastify-concurrency:workers:thread-started', (message) => { ms = Math.max(ms, /** @type {{ durationMs: number }} */ (message).durationMs) })
    const app = Fastify()
    await app.register(concurrency, { workers: { jobs, maxThreads: threads } })
    await app.ready()
    return ms
  },

  /** @param {number} threads */
  async piscina (threads) {
    await import('fastify')
    const { Piscina } = await import('piscina')
    const began = performance.now()
    const pool = new Piscina({ filename: fileURLToPath(new URL('jobs/identity.mjs', import.meta.url)), minThreads: threads, maxThreads: threads })
    await Promise.all(Array.from({ length: threads }, () => pool.run(1)))
    return performance.now() - began
  }
}

/** @typedef {keyof typeof starts} Kind */

/** Runs one measurement in a process of its own. */
async function one (/** @type {Kind} */ kind, /** @type {number} */ threads) {
  const ms = await starts[kind](threads)
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  process.stdout.write(JSON.stringify({ ms, rss: process.memoryUsage.rss() / 2 ** 20 }))
  process.exit()
}

/**
 * @param {Kind} kind
 * @param {number} threads
 * @returns {{ ms: number, rss: number }}
 */
const fresh = (kind, threads) => JSON.parse(execFileSync(process.execPath, [fileURLToPath(import.meta.url), 'one', kind, String(threads)], { encoding: 'utf8' }))

if (process.argv[2] === 'one') {
  await one(/** @type {Kind} */ (process.argv[3]), Number(process.argv[4]))
} else {
  const report = new Report('start', { rounds: '11' })
  const rounds = report.number('rounds')
  const kinds = /** @type {Kind[]} */ (Object.keys(starts))
  const ms = await alternate(rounds, kinds, async (kind) => fresh(kind, FEW).ms)
  const mb = await alternate(rounds, kinds, async (kind) => (fresh(kind, MANY).rss - fresh(kind, FEW).rss) / (MANY - FEW))
  const rows = kinds.map((kind) => ({ thread: kind, ms: median(ms.get(kind) ?? []), MB: median(mb.get(kind) ?? []) }))
  report.table(`One thread, from nothing until it takes jobs; memory of each further one: median of ${rounds} rounds`, rows)
  const [ours, bare] = /** @type {[typeof rows[0], typeof rows[0]]} */ (/** @type {unknown} */ (rows))
  report.bar('start beyond bare piscina\'s', ours.ms - bare.ms, '<=', 10, ' ms')
  report.bar('memory beyond bare piscina\'s', ours.MB - bare.MB, '<=', 2, ' MB')
  report.end()
}
