/** Sixty requests at once from idle: a queue that is full for a moment is no overload, and none of them may be refused. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Clients, startServer } from './lib/cell.mjs'
import { median, Report } from './lib/report.mjs'
import { calibrate, work } from './lib/work.mjs'

const BURST = 60
const JOB = 10
const PATIENCE = 5_000
/** ms between bursts: the threads have retired. */
const REST = 600

const report = new Report('burst', { only: 'ours,piscina queue,piscina', rounds: '10' })
const rounds = report.number('rounds')
const iterationsPerMs = calibrate()
const clients = new Clients()

const rows = []
for (const server of report.list('only')) {
  const { port, stop } = await startServer(server, iterationsPerMs)
  /** @type {Array<import('./lib/client.mjs').Outcome & { ping: number }>} */
  const bursts = []
  for (let round = 0; round < rounds; round++) {
    await sleep(REST)
    const { streams, ping } = await clients.run({ port, seconds: 1, patience: PATIENCE, streams: [{ name: 'burst', deck: [work(JOB)], burst: BURST }] })
    const outcome = /** @type {import('./lib/client.mjs').Outcome} */ (streams['burst'])
    bursts.push({ ...outcome, ping: ping.max })
  }
  await stop()
  const total = (/** @type {'served' | 'refused' | 'gaveUp' | 'failed'} */ what) => bursts.reduce((sum, burst) => sum + burst[what], 0)
  rows.push({
    server,
    served: total('served'),
    refused: total('refused'),
    failed: total('gaveUp') + total('failed'),
    'first burst, last answer ms': bursts[0]?.max ?? NaN,
    'p50 ms': median(bursts.map(({ p50 }) => p50)),
    'last answer ms': median(bursts.map(({ max }) => max)),
    '/ping max ms': median(bursts.map(({ ping }) => ping))
  })
}
report.table(`${BURST} requests of ${JOB} ms at once from idle, ${rounds} times`, rows)
const ours = rows.find(({ server }) => server === 'ours')
if (ours !== undefined) report.bar('refused', ours.refused + ours.failed, '<=', 0)
clients.stop()
report.end()
