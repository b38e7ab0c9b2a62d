/**
 * Measures the cost of the metrics and of the dashboard: CPU time of the server's process for a request that runs a job and for one that runs none. The
 * logger is on, and one policy limits each request. `dashboard` has no page open, `connected` has one.
 */
import { get } from 'node:http'
import { Clients, startServer } from './lib/cell.mjs'
import { alternate, median, medianInterval, Report } from './lib/report.mjs'

const KINDS = /** @type {const} */ (['off', 'metrics', 'dashboard', 'connected'])
const ROUTES = { job: '/job', request: '/bare' }
const BAR = 1.03

/** One process of a kind may be slower than another for as long as it lives, so that each kind is started several times. */
const STARTS = 5

const report = new Report('metrics', { rounds: '12', requests: '1000' })
const rounds = report.number('rounds')
const requests = report.number('requests')
const clients = new Clients()

/** @type {Record<string, Record<string, number[]>>} by route and kind */
const costs = Object.fromEntries(Object.keys(ROUTES).map((what) => [what, Object.fromEntries(KINDS.map((kind) => [kind, []]))]))
for (let start = 0; start < STARTS; start++) {
  const servers = new Map()
  for (const kind of KINDS) servers.set(kind, await startServer(`metrics ${kind}`, 1))
  const page = get({ port: servers.get('connected').port, path: '/dashboard/events' }, (response) => response.resume())
  for (const [what, path] of Object.entries(ROUTES)) {
    const measure = async (/** @type {string} */ kind) => clients.cpu({ port: servers.get(kind).port, path, count: requests, inFlight: 10 })
    for (const kind of KINDS) for (let warm = 0; warm < 3; warm++) await measure(kind)
    for (const [kind, values] of await alternate(rounds, KINDS, measure)) costs[what]?.[kind]?.push(...values)
  }
  page.destroy()
  for (const { stop } of servers.values()) await stop()
}
clients.stop()

for (const [what, byKind] of Object.entries(costs)) {
  const of = (/** @type {string} */ kind) => byKind[kind] ?? []
  const ratios = (/** @type {string} */ kind) => of(kind).map((value, round) => value / (of('off')[round] ?? NaN))
  report.table(`CPU of a ${what}, median of ${STARTS} × ${rounds} rounds of ${requests}`, KINDS.map((kind) => {
    const [low, high] = medianInterval(ratios(kind))
    return { kind, 'µs a request': median(of(kind)), '÷ off': median(ratios(kind)), 'from (95 %)': low, to: high }
  }))
  for (const kind of KINDS.slice(1)) report.bar(`${what}: ${kind} ÷ off`, median(ratios(kind)), '<=', BAR)
}
report.end()
