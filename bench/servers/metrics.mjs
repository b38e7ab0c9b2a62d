// A service with the suite: without the metrics, with them, or with the dashboard. /on and /off switch what listens to the suite's channels, and the
// dashboard's timer, so that one process is measured with and without them.
import diagnostics from 'node:diagnostics_channel'
import { syncBuiltinESMExports } from 'node:module'
import concurrency from 'fastify-concurrency'
import { jobs } from '../jobs.mjs'
import { serve } from '../lib/serve.mjs'

const kind = process.argv[2]

/** @type {Array<[string, diagnostics.ChannelListener]>} */
const subscriptions = []
let isOn = true
const { subscribe, unsubscribe } = diagnostics
const { setInterval } = globalThis
diagnostics.subscribe = (name, listener) => {
  subscriptions.push([String(name), listener])
  subscribe(name, listener)
}
syncBuiltinESMExports()
const switched = (/** @type {() => void} */ callback, /** @type {number} */ ms) => setInterval(() => { if (isOn) callback() }, ms)
globalThis.setInterval = /** @type {typeof setInterval} */ (switched)

function turn (/** @type {boolean} */ on) {
  if (on === isOn) return
  isOn = on
  for (const [name, listener] of subscriptions) {
    if (on) subscribe(name, listener)
    else unsubscribe(name, listener)
  }
}

await serve(async (app) => {
  await app.register(concurrency, {
    workers: { jobs },
    limiter: { policies: { service: { rate: 1_000_000, burst: 1_000_000 } } },
    ...(kind === 'metrics' && { metrics: {} }),
    ...((kind === 'dashboard' || kind === 'connected') && { dashboard: {} })
  })
  app.get('/job', async () => ({ result: await app.workers.run('identity', 1) }))
  app.get('/bare', async () => ({ hello: 'world' }))
  app.get('/on', async () => turn(true))
  app.get('/off', async () => turn(false))
})
