/**
 * Measures short jobs next to long ones: reports of 1 s, which `concurrency: 1` limits to one thread, and 5 ms jobs at 30 % of one thread. Piscina
 * has no such limit, so two reports occupy both threads.
 */
import { Clients, startServer, warmUp } from './lib/cell.mjs'
import { alternate, median, Report } from './lib/report.mjs'
import { calibrate, work } from './lib/work.mjs'

const SHORT = 5
const LONG = 1_000
/** Reports a second: more than one thread can do. */
const LONG_RATE = 1.5
const PATIENCE = 5_000

const report = new Report('mixed', { only: 'ours,piscina', seconds: '10', rounds: '3' })
const seconds = report.number('seconds')
const rounds = report.number('rounds')
const iterationsPerMs = calibrate()
const clients = new Clients()
const short = { name: 'short', deck: [work(SHORT)], rate: 0.3 * 1_000 / SHORT }
const long = { name: 'long', deck: [work(LONG, 'report')], rate: LONG_RATE }

/**
 * @param {string} server
 * @param {number} seed
 */
async function compare (server, seed) {
  const { port, stop } = await startServer(server, iterationsPerMs)
  try {
    await warmUp(clients, port, short.deck)
    const orders = { port, seconds, seed, patience: PATIENCE }
    const alone = (await clients.run({ ...orders, streams: [short] })).streams['short']
    const { short: mixed, long: reports } = (await clients.run({ ...orders, streams: [short, long] })).streams
    if (alone === undefined || mixed === undefined || reports === undefined) throw new Error('a stream is missing')
    return { alone, mixed, reports }
  } finally {
    await stop()
  }
}

const results = await alternate(rounds, report.list('only'), (server, round) => compare(server, round + 1))
const rows = [...results].map(([server, results]) => {
  const of = (/** @type {(result: typeof results[number]) => number} */ value) => median(results.map(value))
  return {
    server,
    'short alone: p50 ms': of(({ alone }) => alone.p50),
    'p99 ms': of(({ alone }) => alone.p99),
    'beside reports: p50 ms': of(({ mixed }) => mixed.p50),
    'mixed p99 ms': of(({ mixed }) => mixed.p99),
    'p99 ÷ alone': of(({ alone, mixed }) => mixed.p99 / alone.p99),
    'short lost': of(({ mixed }) => mixed.sent - mixed.served),
    'reports served': of(({ reports }) => reports.served),
    refused: of(({ reports }) => reports.refused)
  }
})
report.table(`${SHORT} ms jobs at 30 % of a thread beside ${LONG} ms jobs on one thread: median of ${rounds} rounds`, rows)
const ours = rows.find(({ server }) => server === 'ours')
if (ours !== undefined) report.bar('p99 of the short ones ÷ alone', ours['p99 ÷ alone'], '<=', 2)
clients.stop()
report.end()
