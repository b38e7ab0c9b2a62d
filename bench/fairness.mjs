/**
 * Measures fairness: one key sends ten times its share while nine keys send half of theirs. The table shows what the nine lose and how long
 * they wait, compared with a run without the heavy key. Piscina knows no keys, so the nine wait behind the heavy one.
 */
import { capacity, Clients, startServer, warmUp } from './lib/cell.mjs'
import { alternate, median, Report } from './lib/report.mjs'
import { calibrate, work } from './lib/work.mjs'

const KEYS = 10
const PATIENCE = 1_000
const deck = [work(10)]

const report = new Report('fairness', { only: 'ours,piscina', seconds: '10', rounds: '3' })
const seconds = report.number('seconds')
const rounds = report.number('rounds')
const iterationsPerMs = calibrate()
const clients = new Clients()

/**
 * @param {string} server
 * @param {number} seed
 */
async function compare (server, seed) {
  const share = await capacity(clients, deck, { iterationsPerMs, seconds: 3 }) / KEYS
  const { port, stop } = await startServer(server, iterationsPerMs)
  try {
    await warmUp(clients, port, deck)
    const nine = { name: 'nine', deck, rate: (KEYS - 1) * share / 2, keys: Array.from({ length: KEYS - 1 }, (_, index) => `light-${index}`) }
    const one = { name: 'one', deck, rate: 10 * share, keys: ['heavy'] }
    const orders = { port, seconds, seed, patience: PATIENCE }
    const alone = outcome(await clients.run({ ...orders, streams: [nine] }), 'nine')
    const together = await clients.run({ ...orders, streams: [nine, one] })
    return { share, alone, nine: outcome(together, 'nine'), one: outcome(together, 'one') }
  } finally {
    await stop()
  }
}

/**
 * @param {Awaited<ReturnType<Clients['run']>>} result
 * @param {string} stream
 */
function outcome ({ streams }, stream) {
  const { sent, served, rate, p50, p99 } = /** @type {import('./lib/client.mjs').Outcome} */ (streams[stream])
  return { lost: 1 - served / sent, rate, p50, p99 }
}

const results = await alternate(rounds, report.list('only'), (server, round) => compare(server, round + 1))
const rows = [...results].map(([server, results]) => {
  const of = (/** @type {(result: typeof results[number]) => number} */ value) => median(results.map(value))
  return {
    server,
    'nine alone: p99 ms': of(({ alone }) => alone.p99),
    'beside the one: p99 ms': of(({ nine }) => nine.p99),
    'p99 ÷ alone': of(({ alone, nine }) => nine.p99 / alone.p99),
    'lost % alone': 100 * of(({ alone }) => alone.lost),
    'lost %': 100 * of(({ nine }) => nine.lost),
    'the one: served ÷ share': of(({ one, share }) => one.rate / share),
    'its lost %': 100 * of(({ one }) => one.lost)
  }
})
report.table(`One key at 10x its share beside nine at half of theirs, 10 ms job: median of ${rounds} rounds`, rows)
const ours = rows.find(({ server }) => server === 'ours')
if (ours !== undefined) {
  report.bar('loss of the nine', ours['lost %'], '<=', 1, ' %')
  report.bar('p99 of the nine ÷ alone', ours['p99 ÷ alone'], '<=', 2)
}
clients.stop()
report.end()
