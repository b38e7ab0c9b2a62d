/** Measures what a refusal costs, in CPU time per request of the server's process with the logger on, next to an answer that is sent and an error that is thrown. */
import { Clients, startServer } from './lib/cell.mjs'
import { alternate, median, Report } from './lib/report.mjs'

const KINDS = /** @type {const} */ ({
  served: { title: 'bare Fastify, 200', expect: 200 },
  sent: { title: 'bare Fastify, 503 sent', expect: 503 },
  thrown: { title: 'bare Fastify, 503 thrown', expect: 503 },
  ours: { title: 'ours, a job refused', expect: 503 }
})

const report = new Report('refusal', { rounds: '9', requests: '10000' })
const rounds = report.number('rounds')
const requests = report.number('requests')
const clients = new Clients()
const kinds = /** @type {Array<keyof typeof KINDS>} */ (Object.keys(KINDS))
const servers = new Map()
for (const kind of kinds) servers.set(kind, await startServer(`refusal ${kind}`, 1))

const measure = async (/** @type {keyof typeof KINDS} */ kind) => {
  const { port } = servers.get(kind)
  return clients.cpu({ port, path: '/work', count: requests, inFlight: 10, expect: KINDS[kind].expect })
}
for (const kind of kinds) await measure(kind)
const results = await alternate(rounds, kinds, measure)
report.table(`CPU of a request, median of ${rounds} rounds of ${requests}`, kinds.map((kind) => ({
  server: KINDS[kind].title,
  'µs a request': median(results.get(kind) ?? []),
  '÷ served': median((results.get(kind) ?? []).map((value, round) => value / (results.get('served')?.[round] ?? NaN)))
})))
for (const { stop } of servers.values()) await stop()
clients.stop()
report.end()
