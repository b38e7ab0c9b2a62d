// A service with the suite: without the metrics, with them, or with the dashboard.
import concurrency from 'fastify-concurrency'
import { jobs } from '../jobs.mjs'
import { serve } from '../lib/serve.mjs'

const kind = process.argv[2]

await serve(async (app) => {
  await app.register(concurrency, {
    workers: { jobs },
    limiter: { policies: { service: { rate: 1_000_000, burst: 1_000_000 } } },
    ...(kind === 'metrics' && { metrics: {} }),
    ...((kind === 'dashboard' || kind === 'connected') && { dashboard: {} })
  })
  app.get('/job', async () => ({ result: await app.workers.run('identity', 1) }))
  app.get('/bare', async () => ({ hello: 'world' }))
})
