/**
 * Looks for leaks in 100,000 runs, of which one in ten is cancelled and one in a hundred ends its thread. A listener, a timer or an object
 * that a run leaves behind would be found many times. The exit code is 1 if anything has grown.
 */
import { getEventListeners } from 'node:events'
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { queryObjects, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { MessagePort } from 'node:worker_threads'
import concurrency from 'fastify-concurrency'
import { assertIdle } from 'fastify-concurrency/testing'
import { jobs } from './jobs.mjs'
import { app } from './lib/app.mjs'
import { Report } from './lib/report.mjs'

const IN_FLIGHT = 64
/** The first checkpoint comes after the caches have filled; the later ones are compared with it. */
const CHECKPOINTS = 10
/** Bytes of heap by which a later checkpoint may exceed the first. */
const HEAP = 2 * 2 ** 20
const TIME_LIMIT = 600_000

const report = new Report('soak', { runs: '100000' })
const runs = report.number('runs')
setFlagsFromString('--expose-gc')
const gc = /** @type {() => void} */ (runInNewContext('gc'))
setTimeout(() => {
  console.error(`Not done after ${TIME_LIMIT / 1_000} s: ${JSON.stringify(server.workers.stats())}`)
  process.exit(1)
}, TIME_LIMIT).unref()

const Timeout = /** @type {Function} */ (setTimeout(() => {}).constructor)
const server = app()
await server.register(concurrency, { workers: { jobs, maxThreads: 2 } })
await server.ready()
/** A signal that lives as long as the process, as the signal of a shutdown does. Each run listens to it and has to stop listening. */
const shared = new AbortController().signal
/** @type {Record<string, number>} */
const endings = {}

/** @param {number} index */
async function one (index) {
  if (index % 100 === 50) return server.workers.run('die', index % 200 === 50 ? 'exit' : 'uncaught')
  if (index % 10 !== 5) return server.workers.run('identity', index, { signal: shared })
  const controller = new AbortController()
  // Some runs are cancelled before they are queued, some while they wait, and some as soon as they run.
  const when = index % 30
  if (when === 5) controller.abort()
  const result = server.workers.run('cooperativeLoop', undefined, { signal: controller.signal, onProgress: () => controller.abort() })
  if (when === 15) queueMicrotask(() => controller.abort())
  return result
}

/**
 * @param {number} from
 * @param {number} to
 */
async function batch (from, to) {
  let next = from
  await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
    while (next < to) {
      const ending = await one(next++).then(() => 'completed', (error) => error.code ?? String(error))
      endings[ending] = (endings[ending] ?? 0) + 1
    }
  }))
}

async function look () {
  await server.workers.idle()
  await assertIdle(server)
  // Waits until what has ended is released: handles close, and threads are joined.
  for (let turn = 0; turn < 10; turn++) {
    await sleep(50)
    gc()
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  // Counts all live objects, unref'd or not, because handles that hold the process open are only a part of what can leak.
  const count = (/** @type {Function} */ of) => /** @type {number} */ (queryObjects(of, { format: 'count' }))
  return {
    heap: heapUsed,
    external,
    rss,
    threads: readdirSync('/proc/self/task').length,
    listeners: getEventListeners(shared, 'abort').length + process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
    timers: count(Timeout),
    signals: count(AbortSignal),
    promises: count(Promise),
    ports: count(MessagePort),
    handles: process.getActiveResourcesInfo().length
  }
}

const looks = []
for (let checkpoint = 0; checkpoint < CHECKPOINTS; checkpoint++) {
  await batch(Math.round(runs * checkpoint / CHECKPOINTS), Math.round(runs * (checkpoint + 1) / CHECKPOINTS))
  looks.push(await look())
}
const mb = (/** @type {number} */ bytes) => bytes / 2 ** 20
report.table(`After each tenth of ${runs} runs`, looks.map(({ heap, external, rss, ...counts }, index) => ({
  runs: Math.round(runs * (index + 1) / CHECKPOINTS), 'heap MB': mb(heap), 'external MB': mb(external), 'rss MB': mb(rss), ...counts
})))
report.table('How they ended', [endings])

const first = /** @type {Awaited<ReturnType<typeof look>>} */ (looks[1])
const last = /** @type {Awaited<ReturnType<typeof look>>} */ (looks.at(-1))
const counted = /** @type {const} */ (['threads', 'listeners', 'timers', 'signals', 'ports', 'handles'])
const ended = ['completed', 'FC_ERR_JOB_ABORTED', 'FC_ERR_JOB_CRASHED'].reduce((sum, ending) => sum + (endings[ending] ?? 0), 0)
const flat = [
  report.bar('heap grown by', mb(last.heap - first.heap), '<=', mb(HEAP), ' MB'),
  report.bar('external memory grown by', mb(last.external - first.external), '<=', mb(HEAP), ' MB'),
  ...counted.map((what) => report.bar(`${what} more`, last[what] - first[what], '<=', 0)),
  report.bar('runs that didn\'t end as they should', runs - ended, '<=', 0)
]
report.end()
await server.close()
if (flat.includes(false)) process.exitCode = 1
