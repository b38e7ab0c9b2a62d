/**
 * Measures how soon a thread works for another client after its own client has left: from the destruction of the client's socket, over real
 * HTTP, to the start of the next job on the only thread of the pool.
 */
import concurrency from 'fastify-concurrency'
import { once } from 'node:events'
import { connect } from 'node:net'
import { jobs } from './jobs.mjs'
import { app, portOf } from './lib/app.mjs'
import { median, percentile, Report } from './lib/report.mjs'

const GRACE = 100
/** What is measured, and the bar in ms. */
const KINDS = /** @type {const} */ ({ cooperativeAsync: 5, cooperativeLoop: 5, stubborn: GRACE + 50 })

const report = new Report('cancel', { rounds: '30' })
const rounds = report.number('rounds')

const server = app()
await server.register(concurrency, { workers: { jobs, maxThreads: 1, grace: GRACE } })
let onStarted = () => {}
server.get('/:job', (request) => {
  const { job } = /** @type {{ job: keyof typeof KINDS }} */ (request.params)
  return server.workers.run(job, undefined, { onProgress: () => onStarted() })
})
await server.listen({ port: 0, host: '127.0.0.1' })
const port = portOf(server)

/** @param {keyof typeof KINDS} kind */
async function measure (kind) {
  const started = new Promise((resolve) => { onStarted = () => resolve(undefined) })
  const socket = connect({ port, host: '127.0.0.1' })
  await once(socket, 'connect')
  socket.write(`GET /${kind} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)
  await started
  const next = server.workers.run('startedAt')
  const left = Number(process.hrtime.bigint()) / 1e6
  socket.destroy()
  return /** @type {number} */ (await next) - left
}

const rows = []
for (const [kind, bar] of /** @type {Array<[keyof typeof KINDS, number]>} */ (Object.entries(KINDS))) {
  await measure(kind)
  const times = []
  for (let round = 0; round < rounds; round++) times.push(await measure(kind))
  rows.push({ job: kind, 'median ms': median(times), 'max ms': percentile(times, 1), bar })
}
report.table(`From the client's leaving to the next job on its thread, grace ${GRACE} ms, ${rounds} rounds`, rows)
for (const { job, bar, ...times } of rows) report.bar(job, times['median ms'], '<=', bar, ' ms')
report.end()
await server.close()
