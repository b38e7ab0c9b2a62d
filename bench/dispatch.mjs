/**
 * Measures what a job costs besides its own work: an identity job on two threads, with 1 and with 64 jobs in flight. Our pool runs with all its
 * features (admission, deadlines, estimates, statistics, logger on); the other pools have none of these.
 */
import { fileURLToPath } from 'node:url'
import concurrency from 'fastify-concurrency'
import { Piscina } from 'piscina'
import { FixedThreadPool } from 'poolifier'
import { Tinypool } from 'tinypool'
import workerpool from 'workerpool'
import { jobs } from './jobs.mjs'
import { app } from './lib/app.mjs'
import { alternate, median, pairedRatio, Report } from './lib/report.mjs'

const THREADS = 2
/** Each measurement begins with this many ms of load that aren't counted, since code that has just been loaded is slow. */
const WARM_UP = 50

const report = new Report('dispatch', { rounds: '15', ms: '200' })
const rounds = report.number('rounds')
const ms = report.number('ms')

const server = app()
await server.register(concurrency, { workers: { jobs, maxThreads: THREADS } })
await server.ready()
const threads = { minThreads: THREADS, maxThreads: THREADS }
const identity = fileURLToPath(new URL('jobs/identity.mjs', import.meta.url))
const piscina = new Piscina({ filename: identity, ...threads })
const tinypool = new Tinypool({ filename: identity, ...threads })
const workers = workerpool.pool(fileURLToPath(new URL('peers/workerpool.mjs', import.meta.url)), { workerType: 'thread', minWorkers: THREADS, maxWorkers: THREADS })
const poolifier = new FixedThreadPool(THREADS, fileURLToPath(new URL('peers/poolifier.mjs', import.meta.url)))
// A job with a transfer list is never prefetched, so this row shows our pool without prefetching.
const alone = { transferList: [] }

/** @type {Record<string, (payload: number) => PromiseLike<unknown>>} */
const pools = {
  ours: (payload) => server.workers.run('identity', payload),
  'ours, one at a time': (payload) => server.workers.run('identity', payload, alone),
  piscina: (payload) => piscina.run(payload),
  tinypool: (payload) => tinypool.run(payload),
  workerpool: (payload) => workers.exec('identity', [payload]),
  poolifier: (payload) => poolifier.execute(payload)
}

/**
 * @param {(payload: number) => PromiseLike<unknown>} run
 * @param {number} inFlight
 * @param {number} duration in ms
 * @returns {Promise<number>} jobs a second
 */
async function throughput (run, inFlight, duration) {
  let done = 0
  const began = performance.now()
  const end = began + duration
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (performance.now() < end) {
      if (await run(done) === undefined) throw new Error('the identity job returned nothing')
      done++
    }
  }))
  return done * 1_000 / (performance.now() - began)
}

/** @param {number} inFlight */
async function compare (inFlight) {
  const results = await alternate(rounds, Object.keys(pools), async (name) => {
    const run = pools[name] ?? (() => Promise.reject(new Error(`no pool named ${name}`)))
    await throughput(run, inFlight, WARM_UP)
    return throughput(run, inFlight, ms)
  })
  const of = (/** @type {string} */ name) => results.get(name) ?? []
  report.table(`Identity job, ${THREADS} threads, ${inFlight} in flight: median of ${rounds} rounds`, Object.keys(pools).map((pool) => ({
    pool,
    'jobs/s': Math.round(median(of(pool))),
    'µs a job': 1e6 / median(of(pool)),
    '÷ piscina': pairedRatio(of(pool), of('piscina'))
  })))
  return of
}

const serial = await compare(1)
report.bar('one run() serial, its time ÷ piscina', pairedRatio(serial('piscina'), serial('ours')), '<=', 1.3)
const parallel = await compare(64)
report.bar('64 in flight, jobs/s ÷ piscina', pairedRatio(parallel('ours'), parallel('piscina')), '>=', 8)
report.bar('64 in flight, jobs/s ÷ poolifier', pairedRatio(parallel('ours'), parallel('poolifier')), '>=', 2)
report.bar('64 in flight, one at a time a thread, jobs/s ÷ piscina', pairedRatio(parallel('ours, one at a time'), parallel('piscina')), '>=', 1)
report.end()
await Promise.all([server.close(), piscina.destroy(), tinypool.destroy(), workers.terminate(), poolifier.destroy()])
