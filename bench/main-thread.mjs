/**
 * Compares the CPU time of the main thread for a request, by turns of a second or so, with what the same service costs without the suite:
 *   job     a job that does nothing, on an idle pool ÷ bare piscina
 *   refused six times the capacity of jobs that sleep for 10 ms, so that most are refused ÷ piscina behind a counter of 32
 *   limited a request that a policy grants ÷ bare Fastify
 * The servers of a pair run all the time, and have their turns in both orders. Only Linux counts the CPU time of a thread.
 *
 *   node bench/main-thread.mjs --only job,refused --rounds 40
 */
import { availableParallelism, loadavg } from 'node:os'
import { Clients, startServer } from './lib/cell.mjs'
import { alternate, median, pairedRatio, Report } from './lib/report.mjs'

const NAP_MS = 10
const RATE = 6 * availableParallelism() * 1_000 / NAP_MS
/** @typedef {{ ours: string, peer: string, bar: number, run: (port: number, seed: number) => Promise<void>, requests: number }} Pair */
const clients = new Clients()
const report = new Report('main-thread', { only: 'job,refused,limited', rounds: '20' })
const rounds = report.number('rounds')

/** @type {Record<string, Pair>} */
const PAIRS = {
  job: { ours: 'ours', peer: 'piscina', bar: 1.1, ...sequence('/empty', 1_000) },
  refused: {
    ours: 'ours',
    peer: 'piscina queue',
    bar: 1.15,
    requests: RATE,
    async run (port, seed) {
      await clients.run({ port, seed, seconds: 1, patience: 1_000, ramp: 0, streams: [{ name: 'nap', deck: ['/nap'], rate: RATE }] })
    }
  },
  limited: { ours: 'limited ours', peer: 'limited', bar: Infinity, ...sequence('/', 2_000) }
}

/** Requests one after the other. @param {string} path @param {number} count */
function sequence (path, count) {
  return { requests: count, run: (/** @type {number} */ port) => clients.many({ port, path, count, inFlight: 1 }) }
}

/** @param {number} port */
async function mainCpu (port) {
  const { main } = /** @type {import('./lib/threads.mjs').Times} */ (await (await fetch(`http://127.0.0.1:${port}/times`)).json())
  return 1_000 * main
}

for (const name of report.list('only', Object.keys(PAIRS))) {
  const { ours, peer, bar, run, requests } = /** @type {Pair} */ (PAIRS[name])
  const servers = await Promise.all([ours, peer].map((server) => startServer(server, 1)))
  const [first, second] = /** @type {[number, number]} */ (servers.map(({ port }) => port))
  // The first turns are not counted: the code is compiled then.
  const cpu = await alternate(rounds + 5, [first, second], async (port, round) => {
    const before = await mainCpu(port)
    await run(port, round + 1)
    return (await mainCpu(port) - before) / requests
  })
  const [own, other] = [first, second].map((port) => (cpu.get(port) ?? []).slice(5))
  report.table(`µs of the main thread for a request, ${name}, median of ${rounds} turns`, [
    { server: ours, µs: median(own ?? []) }, { server: peer, µs: median(other ?? []) }, { server: 'load average', µs: loadavg()[0] }
  ])
  report.bar(`${ours} ÷ ${peer}`, pairedRatio(own ?? [], other ?? []), '<=', bar)
  for (const { stop } of servers) await stop()
}
clients.stop()
report.end()
