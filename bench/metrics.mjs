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

const report = new Report('metrics', { rounds: '15', requests: '5000' })
const rounds = report.number('rounds')
const requests = report.number('requests')
const clients = new Clients()
const servers = new Map()
for (const kind of KINDS) servers.set(kind, await startServer(`metrics ${kind}`, 1))
const page = get({ port: servers.get('connected').port, path: '/dashboard/events' }, (response) => response.resume())

for (const [what, path] of Object.entries(ROUTES)) {
  const measure = async (/** @type {string} */ kind) => clients.cpu({ port: servers.get(kind).port, path, count: requests, inFlight: 10 })
  for (const kind of KINDS) await measure(kind)
  const results = await alternate(rounds, KINDS, measure)
  const of = (/** @type {typeof KINDS[number]} */ kind) => results.get(kind) ?? []
  const ratios = (/** @type {typeof KINDS[number]} */ kind) => of(kind).map((value, round) => value / (of('off')[round] ?? NaN))
  report.table(`CPU of a ${what}, median of ${rounds} rounds of ${requests}`, KINDS.map((kind) => {
    const [low, high] = medianInterval(ratios(kind))
    return { kind, 'µs a request': median(of(kind)), '÷ off': median(ratios(kind)), 'from (95 %)': low, to: high }
  }))
  for (const kind of KINDS.slice(1)) report.bar(`${what}: ${kind} ÷ off`, median(ratios(kind)), '<=', BAR)
}
page.destroy()
for (const { stop } of servers.values()) await stop()
clients.stop()
report.end()
