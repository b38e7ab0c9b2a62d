/**
 * Measures what tracing costs: CPU time per request of the server's process, for a route that runs a job and for a bare route. `off` is measured
 * twice, as `off` and as `off again`: their ratio is the noise of this run. `on` exports nothing: the spans are made and dropped.
 */
import { Clients, startServer } from './lib/cell.mjs'
import { alternate, median, pairedRatio, Report } from './lib/report.mjs'

const KINDS = /** @type {const} */ (['off', 'off again', 'on'])
const ROUTES = { job: '/job', request: '/bare' }

const report = new Report('tracing', { rounds: '15', requests: '5000' })
const rounds = report.number('rounds')
const requests = report.number('requests')
const clients = new Clients()
const servers = new Map()
for (const kind of KINDS) servers.set(kind, await startServer(`tracing ${kind}`, 1))

for (const [what, path] of Object.entries(ROUTES)) {
  const measure = async (/** @type {typeof KINDS[number]} */ kind) => clients.cpu({ port: servers.get(kind).port, path, count: requests, inFlight: 10 })
  for (const kind of KINDS) await measure(kind)
  const results = await alternate(rounds, KINDS, measure)
  const of = (/** @type {typeof KINDS[number]} */ kind) => results.get(kind) ?? []
  report.table(`CPU of a ${what}, median of ${rounds} rounds of ${requests}`, KINDS.map((kind) => ({
    tracing: kind, 'µs a request': median(of(kind)), '÷ off': pairedRatio(of(kind), of('off'))
  })))
}
for (const { stop } of servers.values()) await stop()
clients.stop()
report.end()
