/**
 * Measures an overload: more requests arrive than the threads can serve. Requests arrive open loop, at a multiple of the capacity, which is
 * measured just before; clients give up after a second. The bimodal job takes 2 ms in 95 of 100 runs and 200 ms in the other five. Each server
 * first serves the same load unmeasured, because on two CPUs compiling its code takes a tenth of both.
 *
 * The goodput of the threads is the part of their time in which they did work that was served in time, busy × useful:
 *   busy    (running + ready to run) ÷ time, so that programs that take the CPUs from them don't count
 *   useful  the work that was served in time ÷ the work that they executed
 *
 * A second table shows a sudden overload: the first twelve seconds at six times the capacity on a server that was idle, for clients that
 * give up after 0.3, 1 and 30 s. A third compares the CPU time of the main thread for a request at six times the capacity with that of
 * piscina behind a counter, by turns.
 *
 *   node bench/overload.mjs --only ours,queue --job 10 --load 6 --seconds 20 --sudden '' --turns ''
 *   node bench/overload.mjs --load '' --sudden '' --turns 5
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { buildGo, capacity, Clients, startServer, warmUp } from './lib/cell.mjs'
import { alternate, keys, median, pairedRatio, Report } from './lib/report.mjs'
import { calibrate, work, workOf } from './lib/work.mjs'

const SERVERS = {
  inline: 'inline',
  piscina: 'piscina',
  abort: 'piscina abort',
  queue: 'piscina queue',
  ours: 'ours',
  go: 'go'
}
const TITLES = {
  inline: 'inline',
  piscina: 'piscina',
  abort: 'piscina + abort',
  queue: 'piscina, maxQueue 32',
  ours: 'ours',
  go: 'Go, bounded channel'
}
/** @typedef {keyof typeof SERVERS} Server */

/**
 * The paths of each kind of job. `longer` is how much longer a run has to be to collect as many answers.
 *
 * @type {Record<'10' | '200' | 'bimodal', { deck: string[], longer: number }>}
 */
const JOBS = {
  10: { deck: [work(10)], longer: 1 },
  200: { deck: [work(200)], longer: 2.5 },
  bimodal: { deck: [...new Array(19).fill(work(2)), work(200)], longer: 1.5 }
}
/** Bars at 6x: the goodput of the threads; p99 and p99 of /ping in ms; the main thread's CPU time ÷ that of piscina behind a counter. */
const BARS = { threads: 0.97, p99: 150, ping: 15, main: 1.25 }
/** The time, in s, after which clients of the sudden overload give up, and the bar of the threads' goodput. */
const SUDDEN = { 0.3: 0.93, 1: 0.93, 30: 0.93 }
const OVERLOAD = 6
const SUDDEN_SECONDS = 12

const PATIENCE = 1_000

/** @param {string[]} deck @returns the mean work of a request, in ms */
const mean = (deck) => deck.reduce((sum, path) => sum + workOf(path), 0) / deck.length

const report = new Report('overload', {
  only: keys(SERVERS).join(),
  job: keys(JOBS).join(),
  load: '0.7,1,2,6',
  sudden: keys(SUDDEN).join(),
  turns: '5',
  seconds: '8',
  warm: '8',
  rounds: '1'
})
const seconds = report.number('seconds')
const warm = report.number('warm')
const rounds = report.number('rounds')
const servers = report.list('only', keys(SERVERS)).filter((name) => name !== 'go' || buildGo() !== undefined)
const iterationsPerMs = calibrate()
const clients = new Clients()

/**
 * @param {Server} server
 * @param {{ deck: string[], rate: number, warm: number, seconds: number, patience: number, ramp?: number, seed: number }} load
 */
async function cell (server, { deck, rate, warm, ...orders }) {
  const { port, stop } = await startServer(SERVERS[server], iterationsPerMs)
  const streams = [{ name: 'work', deck, rate }]
  await warmUp(clients, port, deck)
  if (warm === 0) await sleep(1_000)
  else await clients.run({ ...orders, port, streams, seconds: warm, seed: orders.seed + 1_000 })
  const { streams: outcomes, ping, threads } = await clients.run({ ...orders, port, streams })
  await stop().catch((/** @type {Error} */ error) => {
    // A peer that crashed under the load keeps its row, with what it had served by then.
    if (server === 'ours') throw error
    console.log(error.message)
  })
  const { sent, refused, work: served, p50, p99, p99Late, gaveUp, failed } =
    /** @type {import('./lib/client.mjs').Outcome} */ (outcomes['work'])
  const { busy = NaN, useful = NaN, main = NaN } = threads ?? {}
  return {
    served,
    busy,
    useful,
    threads: busy * useful,
    p50,
    p99,
    p99Late,
    refused: 100 * refused / sent,
    gaveUp: 100 * gaveUp / sent,
    failed,
    ping: ping.p99,
    main
  }
}

/** @typedef {Awaited<ReturnType<typeof cell>>} Cell */

/**
 * Measures the servers by turns and prints their table.
 *
 * @param {string} title
 * @param {{ deck: string[], longer: number }} job
 * @param {number} load of the capacity
 * @param {Omit<Parameters<typeof cell>[1], 'deck' | 'rate' | 'seed'>} orders
 * @returns the medians of a server's rounds
 */
async function table (title, { deck, longer }, load, orders) {
  const cells = await alternate(rounds, servers, async (server, round) => {
    // The capacity is measured just before each run, because a machine changes within minutes. Go compiles the loop differently, so it has a
    // capacity of its own.
    const full = await capacity(clients, deck, { iterationsPerMs, seconds: 3 * longer, ...(server === 'go' && { server }) })
    const result = await cell(server, { ...orders, deck, rate: load * full, seed: round + 1 })
    return { ...result, goodput: result.served / (full * mean(deck)) }
  })
  const of = (/** @type {Server} */ server, /** @type {keyof Cell | 'goodput'} */ field) =>
    median((cells.get(server) ?? []).map((cell) => cell[field]))
  report.table(title, servers.map((server) => ({
    server: TITLES[server],
    busy: of(server, 'busy'),
    useful: of(server, 'useful'),
    'busy × useful': of(server, 'threads'),
    'goodput ÷ capacity': of(server, 'goodput'),
    'p50 ms': of(server, 'p50'),
    'p99 ms': of(server, 'p99'),
    'p99 after 3 s': of(server, 'p99Late'),
    'refused %': of(server, 'refused'),
    'gave up %': of(server, 'gaveUp'),
    failed: of(server, 'failed'),
    '/ping p99 ms': of(server, 'ping'),
    'main µs a request': of(server, 'main')
  })))
  return of
}

for (const name of report.list('job', keys(JOBS))) {
  const job = JOBS[name]
  for (const load of report.list('load').map(Number)) {
    const title = `${name === 'bimodal' ? name : `${name} ms`}, ${load}x`
    const of = await table(title, job, load, { warm, seconds: seconds * job.longer, patience: PATIENCE })
    if (!servers.includes('ours') || load < OVERLOAD) continue
    report.bar('goodput of the threads', of('ours', 'threads'), '>=', BARS.threads)
    report.bar('/ping p99', of('ours', 'ping'), '<=', BARS.ping, ' ms')
    if (name === '10') report.bar('p99 after 3 s', of('ours', 'p99Late'), '<=', BARS.p99, ' ms')
  }
}

for (const patience of report.list('sudden', keys(SUDDEN))) {
  const title = `10 ms, from idle to ${OVERLOAD}x, first ${SUDDEN_SECONDS} s, a patience of ${patience} s`
  const orders = { warm: 0, seconds: SUDDEN_SECONDS, ramp: 0, patience: 1_000 * Number(patience) }
  const of = await table(title, JOBS[10], OVERLOAD, orders)
  if (servers.includes('ours')) report.bar('goodput of the threads', of('ours', 'threads'), '>=', SUDDEN[patience])
}

for (const turns of report.list('turns').map(Number)) {
  const { deck } = JOBS[10]
  /** @type {Server[]} */
  const pair = ['ours', 'queue']
  let rate = 0
  const cells = await alternate(turns, pair, async (server, round) => {
    // Both servers of a round get the same requests.
    if (server === pair[round % 2]) rate = OVERLOAD * await capacity(clients, deck, { iterationsPerMs, seconds: 3 })
    return (await cell(server, { deck, rate, warm, seconds, patience: PATIENCE, seed: round + 1 })).main
  })
  const [ours = [], queue = []] = pair.map((server) => cells.get(server) ?? [])
  report.table(`µs of the main thread for a request, 10 ms, ${OVERLOAD}x, by turns`, [
    ...ours.map((main, round) => ({ round: String(round + 1), ours: main, [TITLES.queue]: queue[round] })),
    { round: 'median', ours: median(ours), [TITLES.queue]: median(queue) }
  ])
  report.bar('the main thread: ours ÷ piscina behind a counter', pairedRatio(ours, queue), '<=', BARS.main)
}
clients.stop()
report.end()
