// Computes on the event loop: at once (/work), or after a query to a database (/query), which is a process of its own and answers after 20 ms.
import { connect } from 'node:net'
import concurrency from 'fastify-concurrency'
import spin from '../jobs/spin.mjs'
import { iterationsOf, msOf, serve } from '../lib/serve.mjs'
import { noteThread } from '../lib/threads.mjs'
import { underPressure } from '../lib/under-pressure.mjs'

const [kind = 'bare', database = ''] = process.argv.slice(2)
/** Connections to the database. */
const POOL = 16

let executed = 0

/** @param {import('fastify').FastifyRequest} request */
function compute (request) {
  const result = spin(iterationsOf(request))
  executed += msOf(request)
  noteThread(process.pid, executed)
  return { result }
}

/** Asks the database, whose answers are in the order of the queries of a connection. */
function createPool () {
  const connections = Array.from({ length: POOL }, () => {
    const socket = connect(Number(database), '127.0.0.1').setNoDelay()
    /** @type {Array<() => void>} */
    const waiting = []
    socket.on('data', (chunk) => { for (let i = 0; i < chunk.length; i++) waiting.shift()?.() })
    return { socket, waiting }
  })
  let next = 0
  return () => new Promise((/** @type {(value?: undefined) => void} */ resolve) => {
    const { socket, waiting } = /** @type {typeof connections[0]} */ (connections[next++ % POOL])
    waiting.push(resolve)
    socket.write('?')
  })
}

await serve(async (app) => {
  if (kind === 'ours') await app.register(concurrency, { loop: {} })
  if (kind === 'off') await app.register(concurrency, {})
  if (kind === 'pressure') {
    const { default: plugin } = await import(underPressure())
    // The best of the settings that were tried.
    await app.register(plugin, { maxEventLoopDelay: 50, sampleInterval: 100 })
  }
  app.get('/work', (request, reply) => { reply.send(compute(request)) })
  app.get('/heavy', (request, reply) => { reply.send(compute(request)) })
  if (database !== '') {
    const query = createPool()
    app.get('/query', async (request) => {
      await query()
      return compute(request)
    })
  }
  app.get('/cheap', async () => ({ ok: true }))
  const timing = /** @type {any} */ (performance.nodeTiming)
  app.get('/turns', async () => ({ turns: timing.uvMetricsInfo.loopCount, held: app.hasDecorator('loop') ? app.loop.stats().started : 0 }))
})
