/** Measures the cost of the metrics plugin: CPU time per request of the server's process, for a route that runs a job and for a bare route. */
import { Clients, startServer } from './lib/cell.mjs'
import { alternate, median, pairedRatio, Report } from './lib/report.mjs'

const KINDS = /** @type {const} */ (['off', 'on'])
const ROUTES = { job: '/job', request: '/bare' }
const BAR = 1.03

const report = new Report('metrics', { rounds: '15', requests: '5000' })
const rounds = report.number('rounds')
const requests = report.number('requests')
const clients = new Clients()
const servers = new Map()
for (const kind of KINDS) servers.set(kind, await startServer(`metrics ${kind}`, 1))

for (const [what, path] of Object.entries(ROUTES)) {
  const measure = async (/** @type {'off' | 'on'} */ kind) => clients.cpu({ port: servers.get(kind).port, path, count: requests, inFlight: 10 })
  for (const kind of KINDS) await measure(kind)
  const results = await alternate(rounds, KINDS, measure)
  const of = (/** @type {'off' | 'on'} */ kind) => results.get(kind) ?? []
  const ratio = pairedRatio(of('on'), of('off'))
  report.table(`CPU of a ${what}, median of ${rounds} rounds of ${requests}`, KINDS.map((kind) => ({ metrics: kind, 'µs a request': median(of(kind)) })))
  report.bar(`${what}: on ÷ off`, ratio, '<=', BAR)
}
for (const { stop } of servers.values()) await stop()
clients.stop()
report.end()
