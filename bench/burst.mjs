/**
 * Sends bursts to an idle pool: requests of one client or of seven that arrive at once. Every burst could be served within seconds, so no request
 * may be refused. The last answer comes when the threads have done all the work: time ÷ work is 1 if they do nothing else.
 *
 *   node bench/burst.mjs --only ours --rounds 3
 */
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Clients, startServer } from './lib/cell.mjs'
import { median, Report } from './lib/report.mjs'
import { calibrate, work } from './lib/work.mjs'

/** The bursts: the number of requests, and the work of each in ms. */
const BURSTS = /** @type {const} */ ([[60, 10], [30, 100], [12, 300], [9, 900]])
const KEYS = [1, 7]
const PATIENCE = 30_000
/** ms between bursts, in which the threads become idle. */
const REST = 600
const BAR = 1.3

const report = new Report('burst', { only: 'ours,piscina queue,piscina', rounds: '5' })
const rounds = report.number('rounds')
const servers = report.list('only')
const iterationsPerMs = calibrate()
const clients = new Clients()

for (const [count, ms] of BURSTS) {
  for (const keys of KEYS) {
    const rows = []
    for (const server of servers) {
      const { port, stop } = await startServer(server, iterationsPerMs)
      /** @type {Array<import('./lib/client.mjs').Outcome & { ping: number }>} */
      const bursts = []
      // The pool doesn't know the run times yet when the first burst comes.
      for (let round = 0; round <= rounds; round++) {
        await sleep(REST)
        const burst = { name: 'burst', deck: [work(ms)], burst: count, keys: Array.from({ length: keys }, (_, index) => `client-${index}`) }
        const { streams, ping } = await clients.run({ port, seconds: 1, patience: PATIENCE, streams: [burst] })
        bursts.push({ ...(streams['burst']), ping: ping.max })
      }
      await stop()
      const total = (/** @type {'served' | 'refused' | 'gaveUp' | 'failed'} */ what) => bursts.reduce((sum, burst) => sum + burst[what], 0)
      const last = median(bursts.slice(1).map(({ max }) => max))
      rows.push({
        server,
        served: total('served'),
        refused: total('refused'),
        failed: total('gaveUp') + total('failed'),
        'first burst, last answer ms': bursts[0]?.max ?? NaN,
        'p50 ms': median(bursts.slice(1).map(({ p50 }) => p50)),
        'last answer ms': last,
        'time ÷ work': last / (count * ms / availableParallelism()),
        '/ping max ms': median(bursts.map(({ ping }) => ping))
      })
    }
    report.table(`${count} requests of ${ms} ms at once on an idle pool, ${keys === 1 ? 'one key' : `${keys} keys`}, ${rounds + 1} times`, rows)
    const ours = rows.find(({ server }) => server === 'ours')
    if (ours === undefined) continue
    report.bar('refused', ours.refused + ours.failed, '<=', 0)
    report.bar('time ÷ work', ours['time ÷ work'], '<=', BAR)
  }
}
clients.stop()
report.end()
