/** Measures the cost of the ambient request: CPU time per request of the server's process, for each version of Node. */
import { Clients, startServer } from './lib/cell.mjs'
import { nodeBinary } from './lib/node.mjs'
import { alternate, median, Report } from './lib/report.mjs'

const KINDS = /** @type {const} */ ({ bare: 'bare Fastify', disconnected: 'cancellation, ambient: false', ambient: 'cancellation, ambient: true' })

const report = new Report('ambient', { node: '20,24', rounds: '9', requests: '10000' })
const rounds = report.number('rounds')
const requests = report.number('requests')
const clients = new Clients()

/** @param {string} major */
async function compare (major) {
  const kinds = /** @type {Array<keyof typeof KINDS>} */ (Object.keys(KINDS))
  const servers = new Map()
  for (const kind of kinds) servers.set(kind, await startServer(`ambient ${kind}`, 1, nodeBinary(major)))
  const measure = async (/** @type {keyof typeof KINDS} */ kind) => {
    const { port } = servers.get(kind)
    return clients.cpu({ port, path: '/work', count: requests, inFlight: 10 })
  }
  for (const kind of kinds) await measure(kind)
  const results = await alternate(rounds, kinds, measure)
  const of = (/** @type {keyof typeof KINDS} */ kind) => results.get(kind) ?? []
  const beyond = (/** @type {number[]} */ values, /** @type {number[]} */ than) => median(values.map((value, round) => value - (than[round] ?? NaN)))
  report.table(`Node ${major}: CPU of a request, median of ${rounds} rounds of ${requests}`, kinds.map((kind) => ({
    server: KINDS[kind], 'µs a request': median(of(kind)), 'µs beyond bare': beyond(of(kind), of('bare'))
  })))
  for (const { stop } of servers.values()) await stop()
}

for (const major of report.list('node')) await compare(major)
clients.stop()
report.end()
