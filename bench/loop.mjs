/**
 * Measures an overload of the event loop: handlers compute on it, and more requests arrive than it can serve. Requests arrive open loop, at a multiple of
 * what bare Fastify can do, which is measured at the beginning of each round; clients give up after a second. A probe comes twenty times a second,
 * each on a connection of its own. The whole takes about 15 minutes.
 *
 *   busy    (running + ready to run) ÷ time, of the main thread, so that programs that take the CPUs from it don't count
 *   useful  the work of handlers that was served in time ÷ the time of the main thread
 *
 *   node bench/loop.mjs --only ours --load sync2,query2 --rounds 1 --seconds 5
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { capacity, Clients, startServer } from './lib/cell.mjs'
import { alternate, keys, median, pairedRatio, percentile, Report } from './lib/report.mjs'
import { calibrate, work } from './lib/work.mjs'

const SERVERS = { bare: 'bare Fastify', pressure: 'under-pressure', ours: 'ours' }
/** @typedef {keyof typeof SERVERS} Server */

/** The loads, each with its bars: busy × useful, or the share of requests that is served; p99 of the probes in ms. */
const LOADS = {
  sync2: { title: '10 ms, 2x', deck: [work(10)], load: 2, bar: 0.9, served: false, ping: 50 },
  query2: { title: '20 ms of database, then 10 ms, 2x', deck: [work(10, 'query')], load: 2, bar: 0.88, served: false, ping: 200 },
  sync6: { title: '10 ms, 6x', deck: [work(10)], load: 6, bar: 0.85, served: false, ping: 60 },
  mixed2: { title: '1 ms (90 %) and 80 ms (10 %), 2x', deck: [...new Array(9).fill(work(1)), work(80, 'heavy')], load: 2, bar: 0.75, served: true, ping: 250 }
}
const PATIENCE = 1_000
/**
 * Requests in flight while the capacity is measured. With four, all wait for the database at once, and the loop idles a
 * third of the time.
 */
const IN_FLIGHT = 20
const WARM = [work(10), work(10, 'query'), work(1), work(80, 'heavy')]
const BURST = 60
/** Of the light keys, the share that isn't served; a passing request's CPU with the loop ÷ without. */
const BARS = { burstPing: 60, lost: 0.01, pass: 1.03 }
/** Requests that pass are measured in short pieces by turns, so that what else the machine does falls on both. */
const PASSES = 1_000
const PIECES = 40
/** Requests before the first piece, in which the code of both servers is compiled. */
const WARM_PASSES = 10_000

const report = new Report('loop', { only: keys(SERVERS).join(), load: keys(LOADS).join(), also: 'burst,keys,pass', seconds: '4', rounds: '5' })
const seconds = report.number('seconds')
const rounds = report.number('rounds')
const servers = report.list('only', keys(SERVERS))
const also = report.list('also', ['burst', 'keys', 'pass'])
const iterationsPerMs = calibrate()
const clients = new Clients()
const database = fork(fileURLToPath(new URL('lib/database.mjs', import.meta.url)))
const [port] = await once(database, 'message')
const serverOf = (/** @type {string} */ name) => `loop ${name} ${port}`

/** @type {Map<string, Promise<number>>} */
const measured = new Map()
/** Returns what bare Fastify can do, in requests a second. The servers of a round are compared at the same load. */
function full (/** @type {string} */ round, /** @type {string[]} */ deck) {
  const known = measured.get(round) ?? capacity(clients, deck, { iterationsPerMs, seconds: 2, server: serverOf('bare'), inFlight: IN_FLIGHT })
  measured.set(round, known)
  return known
}

/** @param {Server} server @param {(port: number) => Promise<T>} measure @template T @returns {Promise<T>} */
async function withServer (server, measure) {
  const { port, stop } = await startServer(serverOf(server), iterationsPerMs)
  try {
    // At a load at which under-pressure refuses little.
    await clients.run({ port, streams: [{ name: 'warm', deck: WARM, rate: 15 }], seconds: 1.5, patience: PATIENCE })
    return await measure(port)
  } finally {
    await stop()
  }
}

for (const name of report.list('load', keys(LOADS))) {
  const { title, deck, load, bar, served: isServed, ping: pingBar } = LOADS[name]
  const cells = await alternate(rounds, servers, async (server, round) => {
    const rate = load * await full(`${name} ${round}`, deck)
    return withServer(server, async (port) => {
      const orders = { port, streams: [{ name: 'work', deck, rate }], patience: PATIENCE, fresh: true }
      const { streams, ping, threads } = await clients.run({ ...orders, seconds, seed: round + 1 })
      const { sent, served, refused, gaveUp, p99 } = /** @type {import('./lib/client.mjs').Outcome} */ (streams['work'])
      const { busy = NaN, useful = NaN } = threads ?? {}
      return { busy, useful, both: busy * useful, served: served / sent, refused: refused / sent, gaveUp: gaveUp / sent, p99, ping: ping.p99 }
    })
  })
  const of = (/** @type {Server} */ server, /** @type {'busy' | 'useful' | 'both' | 'served' | 'refused' | 'gaveUp' | 'p99' | 'ping'} */ field) =>
    median((cells.get(server) ?? []).map((cell) => cell[field]))
  report.table(title, servers.map((server) => ({
    server: SERVERS[server],
    busy: of(server, 'busy'),
    useful: of(server, 'useful'),
    'busy × useful': of(server, 'both'),
    'served %': 100 * of(server, 'served'),
    'refused %': 100 * of(server, 'refused'),
    'gave up %': 100 * of(server, 'gaveUp'),
    'p99 ms': of(server, 'p99'),
    'probe p99 ms': of(server, 'ping')
  })))
  if (!servers.includes('ours')) continue
  report.bar(isServed ? 'served' : 'busy × useful', of('ours', isServed ? 'served' : 'both'), '>=', bar)
  report.bar('p99 of the probes', of('ours', 'ping'), '<=', pingBar, ' ms')
}

/** @param {import('./lib/crowd.mjs').Answer[]} answers @param {import('./lib/connections.mjs').Ending} ending */
const share = (answers, ending) => answers.filter((answer) => answer.ending === ending).length / answers.length

if (also.includes('burst')) {
  const cells = await alternate(rounds, servers, (server) => withServer(server, async (port) => {
    const { burst = [], probes = [] } = await clients.crowd({
      port,
      groups: [
        { name: 'burst', clients: BURST, path: work(10), from: 2, to: 3, patience: 5_000, burst: BURST },
        { name: 'probes', clients: 1, path: '/ping', to: 4, patience: 5_000, every: 50, fresh: true }
      ]
    })
    return { refused: share(burst, 503), ping: percentile(probes.map(({ ms }) => ms), 0.99) }
  }))
  report.table(`${BURST} requests of 10 ms at once, on an idle process`, servers.map((server) => ({
    server: SERVERS[server],
    'refused %': 100 * median((cells.get(server) ?? []).map(({ refused }) => refused)),
    'probe p99 ms': median((cells.get(server) ?? []).map(({ ping }) => ping))
  })))
  const ours = cells.get('ours') ?? []
  report.bar('refused of a burst', Math.max(...ours.map(({ refused }) => refused)), '<=', 0)
  report.bar('p99 of the probes', median(ours.map(({ ping }) => ping)), '<=', BARS.burstPing, ' ms')
}

if (also.includes('keys')) {
  const cells = await alternate(rounds, servers, async (server, round) => {
    const rate = await full(`keys ${round}`, [work(10)])
    return withServer(server, async (port) => {
      const group = { path: work(10), to: seconds, patience: PATIENCE }
      const { light = [] } = await clients.crowd({
        port,
        groups: [
          { ...group, name: 'light', clients: 10, rate: 0.03 * rate },
          { ...group, name: 'hog', clients: 1, rate: 3 * rate }
        ]
      })
      return 1 - share(light, 200)
    })
  })
  report.table('ten light keys, 0.3x together, beside one at 3x', servers.map((server) => ({
    server: SERVERS[server], 'the light ones lose %': 100 * median(cells.get(server) ?? [])
  })))
  report.bar('the light keys lose', median(cells.get('ours') ?? []), '<=', BARS.lost)
}

if (also.includes('pass')) {
  const kinds = /** @type {const} */ (['ours', 'off'])
  const pairs = []
  for (let round = 0; round < rounds; round++) {
    // Each round has processes of its own: two processes with the same code differ by several percent.
    const started = await Promise.all(kinds.map((kind) => startServer(serverOf(kind), iterationsPerMs)))
    const turnsOf = async (/** @type {number} */ port) =>
      /** @type {{ turns: number }} */ (await (await fetch(`http://127.0.0.1:${port}/turns`)).json()).turns
    const measure = async (/** @type {typeof kinds[number]} */ kind, count = PASSES) => {
      const { port = 0 } = started[kinds.indexOf(kind)] ?? {}
      const before = await turnsOf(port)
      const cpu = await clients.cpu({ port, path: '/cheap', count, inFlight: 1 })
      return { cpu, turns: (await turnsOf(port) - before) / count }
    }
    for (const kind of kinds) await measure(kind, WARM_PASSES)
    const results = await alternate(PIECES, kinds, (kind) => measure(kind))
    pairs.push(kinds.map((kind) => results.get(kind) ?? []))
    for (const { stop } of started) await stop()
  }
  report.table('a request that passes, unloaded', kinds.map((kind, index) => {
    const all = pairs.flatMap((pair) => pair[index] ?? [])
    return { 'loop: {}': kind === 'ours' ? 'on' : 'off', 'µs of CPU': median(all.map(({ cpu }) => cpu)), turns: median(all.map(({ turns }) => turns)) }
  }))
  const ratios = pairs.map(([ours = [], off = []]) => pairedRatio(ours.map(({ cpu }) => cpu), off.map(({ cpu }) => cpu)))
  report.bar('CPU, on ÷ off', median(ratios), '<=', BARS.pass)
}
database.disconnect()
clients.stop()
report.end()
