/**
 * Measures goodput (the work that is served to clients who still wait for it) when more requests arrive than the threads can serve. Requests
 * arrive open loop, at a multiple of the capacity, which is measured just before; clients give up after a second. The bimodal job takes 2 ms in
 * 95 of 100 runs and 200 ms in the other five. Each server first serves the same load unmeasured, because on two CPUs compiling its code
 * takes a tenth of both.
 *
 * A second table shows a sudden overload: the first twelve seconds at six times the capacity on a server that was idle, for clients that
 * give up after 0.3, 1 and 30 s. The clients and the main thread share the CPUs with the worker threads, so on two CPUs a server that
 * refuses at no cost at all would stay below 1.
 *
 *   node bench/overload.mjs --only ours,queue --job 10 --load 6 --seconds 20 --sudden ''
 *   node bench/overload.mjs --only ours --load '' --sudden 0.3,1,30 --rounds 3
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { buildGo, capacity, Clients, startServer, warmUp } from './lib/cell.mjs'
import { keys, median, Report } from './lib/report.mjs'
import { calibrate, work, workOf } from './lib/work.mjs'

const SERVERS = { inline: 'inline', piscina: 'piscina', abort: 'piscina abort', queue: 'piscina queue', ours: 'ours', go: 'go' }
const TITLES = { inline: 'inline', piscina: 'piscina', abort: 'piscina + abort', queue: 'piscina, maxQueue 32', ours: 'ours', go: 'Go, bounded channel' }

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
/** Bars: goodput ÷ capacity at 2x and 6x; p99 and /ping p99 at 6x, in ms. */
const BARS = { goodput: 0.95, p99: 150, ping: 15 }
/** Bars of the sudden overload: goodput ÷ capacity, by the time in s after which clients give up. */
const SUDDEN = { 0.3: 0.9, 1: 0.92, 30: 0.95 }
const SUDDEN_LOAD = 6
const SUDDEN_SECONDS = 12

const PATIENCE = 1_000

/** @param {string[]} deck @returns the mean work of a request, in ms */
const mean = (deck) => deck.reduce((sum, path) => sum + workOf(path), 0) / deck.length

const report = new Report('overload', { only: keys(SERVERS).join(), job: keys(JOBS).join(), load: '0.7,1,2,6', sudden: keys(SUDDEN).join(), seconds: '8', warm: '8', rounds: '1' })
const seconds = report.number('seconds')
const warm = report.number('warm')
const rounds = report.number('rounds')
const servers = report.list('only', keys(SERVERS)).filter((name) => name !== 'go' || buildGo() !== undefined)
const iterationsPerMs = calibrate()
const clients = new Clients()

/**
 * @param {keyof typeof SERVERS} server
 * @param {{ deck: string[], longer: number }} job
 * @param {number} load
 * @param {number} full requests a second
 * @param {number} seed
 */
async function cell (server, { deck, longer }, load, full, seed) {
  const { port, stop } = await startServer(SERVERS[server], iterationsPerMs)
  const orders = { port, patience: PATIENCE, streams: [{ name: 'work', deck, rate: full * load }] }
  await warmUp(clients, port, deck)
  await clients.run({ ...orders, seconds: warm, seed: seed + rounds })
  const { streams, ping } = await clients.run({ ...orders, seconds: seconds * longer, seed })
  const { sent, refused, work: served, p50, p99, p99Late, gaveUp, failed } = /** @type {import('./lib/client.mjs').Outcome} */ (streams['work'])
  await stop().catch((/** @type {Error} */ error) => {
    // A peer that crashed under the load keeps its row, with what it had served by then.
    if (server === 'ours') throw error
    console.log(error.message)
  })
  return { goodput: served / (full * mean(deck)), p50, p99, p99Late, refused: refused / sent, gaveUp: gaveUp / sent, failed, ping: ping.p99 }
}

/**
 * @param {keyof typeof SERVERS} server
 * @param {number} patience in s
 * @param {number} full requests a second
 * @param {number} seed
 */
async function sudden (server, patience, full, seed) {
  const { deck } = JOBS[10]
  const { port, stop } = await startServer(SERVERS[server], iterationsPerMs)
  await warmUp(clients, port, deck)
  await sleep(1_000)
  const streams = [{ name: 'work', deck, rate: SUDDEN_LOAD * full }]
  const { streams: outcomes, ping } = await clients.run({ port, patience: 1_000 * patience, seconds: SUDDEN_SECONDS, ramp: 0, streams, seed })
  const { sent, refused, work: served, p50, p99, gaveUp, failed } = /** @type {import('./lib/client.mjs').Outcome} */ (outcomes['work'])
  await stop().catch((/** @type {Error} */ error) => {
    if (server === 'ours') throw error
    console.log(error.message)
  })
  return { goodput: served / (full * mean(deck)), p50, p99, refused: refused / sent, gaveUp: gaveUp / sent, failed, ping: ping.p99 }
}

/** @typedef {Awaited<ReturnType<typeof cell>>} Cell */
/** @typedef {Awaited<ReturnType<typeof sudden>>} Sudden */

for (const name of report.list('job', keys(JOBS))) {
  const job = JOBS[name]
  for (const load of report.list('load')) {
    /** @type {Map<keyof typeof SERVERS, Cell[]>} */
    const cells = new Map(servers.map((server) => [server, []]))
    for (let round = 0; round < rounds; round++) {
      for (const server of servers) {
        // The capacity is measured just before each run, because a machine changes within minutes. Go compiles the loop differently, so it has a capacity of its own.
        const full = await capacity(clients, job.deck, { iterationsPerMs, seconds: 3 * job.longer, ...(server === 'go' && { server }) })
        cells.get(server)?.push(await cell(server, job, Number(load), full, round + 1))
      }
    }
    report.table(`${name === 'bimodal' ? name : `${name} ms`}, ${load}x`, servers.map((server) => {
      const of = (/** @type {keyof Cell} */ field) => median((cells.get(server) ?? []).map((cell) => cell[field]))
      return {
        server: TITLES[server],
        'goodput ÷ capacity': of('goodput'),
        'p50 ms': of('p50'),
        'p99 ms': of('p99'),
        'p99 after 3 s': of('p99Late'),
        'refused %': 100 * of('refused'),
        'gave up %': 100 * of('gaveUp'),
        failed: of('failed'),
        '/ping p99 ms': of('ping')
      }
    }))
    const ours = cells.get('ours')
    if (ours === undefined) continue
    const of = (/** @type {keyof Cell} */ field) => median(ours.map((cell) => cell[field]))
    if (Number(load) >= 2) report.bar('goodput ÷ capacity', of('goodput'), '>=', BARS.goodput)
    if (Number(load) >= 6) report.bar('/ping p99', of('ping'), '<=', BARS.ping, ' ms')
    if (Number(load) >= 6 && name === '10') report.bar('p99 after 3 s', of('p99Late'), '<=', BARS.p99, ' ms')
  }
}
for (const patience of report.list('sudden', keys(SUDDEN))) {
  /** @type {Map<keyof typeof SERVERS, Sudden[]>} */
  const cells = new Map(servers.map((server) => [server, []]))
  for (let round = 0; round < rounds; round++) {
    for (const server of servers) {
      const full = await capacity(clients, JOBS[10].deck, { iterationsPerMs, seconds: 3, ...(server === 'go' && { server }) })
      cells.get(server)?.push(await sudden(server, Number(patience), full, round + 1))
    }
  }
  const of = (/** @type {keyof typeof SERVERS} */ server, /** @type {keyof Sudden} */ field) => median((cells.get(server) ?? []).map((cell) => cell[field]))
  report.table(`10 ms, from idle to ${SUDDEN_LOAD}x, first ${SUDDEN_SECONDS} s, a patience of ${patience} s`, servers.map((server) => ({
    server: TITLES[server],
    'goodput ÷ capacity': of(server, 'goodput'),
    'p50 ms': of(server, 'p50'),
    'p99 ms': of(server, 'p99'),
    'refused %': 100 * of(server, 'refused'),
    'gave up %': 100 * of(server, 'gaveUp'),
    failed: of(server, 'failed'),
    '/ping p99 ms': of(server, 'ping')
  })))
  if (servers.includes('ours')) report.bar('goodput ÷ capacity', of('ours', 'goodput'), '>=', SUDDEN[patience])
}
clients.stop()
report.end()
if (report.save) await import('./plot.mjs')
