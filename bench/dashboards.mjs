/**
 * Looks for leaks with many open dashboards under load: the memory of the server's process must stay flat. The exit code is 1 if it grows.
 * The full run of ten minutes: `node bench/dashboards.mjs --minutes 10`.
 */
import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { queryObjects, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.mjs'
import { portOf } from './lib/app.mjs'
import { Report } from './lib/report.mjs'

const CHECKPOINTS = 10
/** Bytes of heap by which the last checkpoint may exceed the one at a fifth of the run, when the history of the charts is full or well under way. */
const HEAP = 4 * 2 ** 20

const report = new Report('dashboards', { minutes: '2', pages: '100' })
const minutes = report.number('minutes')
const pages = report.number('pages')
setFlagsFromString('--expose-gc')
const gc = /** @type {() => void} */ (runInNewContext('gc'))

const app = Fastify()
await app.register(concurrency, { workers: { jobs, maxThreads: 1, maxQueue: 8 }, limiter: { policies: { few: { rate: 50, burst: 50, routes: 'named' } } }, dashboard: {} })
app.get('/job', { config: { limiter: { policies: ['few'] } } }, async () => ({ result: await app.workers.run('identity', 1) }))
await app.listen({ port: 0, host: '127.0.0.1' })
const port = portOf(app)
// The pages are in this process too, and keep nothing of what they read.
let received = 0
const open = Array.from({ length: pages }, () => get({ port, path: '/dashboard/events', agent: false }, (response) => response.on('data', (chunk) => { received += chunk.length })))

const over = new AbortController()
const counts = { served: 0, refused: 0 }
const load = Array.from({ length: 4 }, async () => {
  while (!over.signal.aborted) {
    const { statusCode } = await app.inject('/job')
    counts[statusCode === 200 ? 'served' : 'refused']++
    // Bursts of jobs beside them overload the pool.
    if (counts.refused % 50 === 0) await Promise.allSettled(Array.from({ length: 20 }, () => app.workers.run('identity', 1)))
    await sleep(2)
  }
})

const looks = []
for (let checkpoint = 1; checkpoint <= CHECKPOINTS; checkpoint++) {
  await sleep(minutes * 60_000 / CHECKPOINTS)
  gc()
  const { heapUsed, external, rss } = process.memoryUsage()
  const count = (/** @type {Function} */ of) => /** @type {number} */ (queryObjects(of, { format: 'count' }))
  looks.push({ heap: heapUsed, external, rss, promises: count(Promise), signals: count(AbortSignal) })
}
over.abort()
await Promise.all(load)
for (const each of open) each.destroy()
const mb = (/** @type {number} */ bytes) => bytes / 2 ** 20
report.table(`${pages} pages for ${minutes} minutes, ${counts.served} served, ${counts.refused} refused, ${Math.round(mb(received))} MB sent`, looks.map(({ heap, external, rss, ...others }, index) => ({
  minutes: minutes * (index + 1) / CHECKPOINTS, 'heap MB': mb(heap), 'external MB': mb(external), 'rss MB': mb(rss), ...others
})))
const grown = (/** @type {'heap' | 'external'} */ what) => mb((looks.at(-1)?.[what] ?? NaN) - (looks[1]?.[what] ?? NaN))
const flat = [report.bar('heap grown by', grown('heap'), '<=', mb(HEAP), ' MB'), report.bar('external memory grown by', grown('external'), '<=', mb(HEAP), ' MB')]
report.end()
await app.close()
if (flat.includes(false)) process.exitCode = 1
