/** Serves identity jobs, and a route that only clones the body, and reports how long each held the event loop. The parent process counts how often this one ends. */
import { setImmediate as turn } from 'node:timers/promises'
import concurrency from 'fastify-concurrency'
import { jobs } from '../jobs.mjs'
import { app, portOf } from '../lib/app.mjs'

const server = app()
await server.register(concurrency, { workers: { jobs } })

let longest = 0
let last = performance.now()
const look = () => {
  const now = performance.now()
  longest = Math.max(longest, now - last)
  last = now
  setImmediate(look)
}
setImmediate(look)

/** Jobs of other clients. A job that is refused isn't lost. */
let sent = 0
let lost = 0
setInterval(async () => {
  const mine = ++sent
  try {
    if (await server.workers.run('identity', mine) !== mine) lost++
  } catch (error) {
    if (/** @type {{ code?: string }} */ (error).code !== 'FC_ERR_WORKERS_OVERLOADED') lost++
  }
}, 5)

server.post('/job', (request) => server.workers.run('identity', request.body))
server.post('/clone', async (request) => structuredClone(request.body))
/** Runs a job without HTTP. The text is parsed in a turn of its own. */
server.post('/direct/:how', async (request) => {
  const { how } = /** @type {{ how: string }} */ (request.params)
  const value = JSON.parse(/** @type {string} */ (request.body))
  await turn()
  await turn()
  longest = 0
  try {
    await (how === 'job' ? server.workers.run('identity', value) : structuredClone(value))
  } finally {
    await turn()
  }
  return { held: longest }
})
server.get('/held', async () => {
  const held = longest
  longest = 0
  return { held, sent, lost }
})
await server.listen({ port: 0, host: '127.0.0.1' })
process.send?.(portOf(server))
process.on('disconnect', () => process.exit())
