// A service with the suite, without or with the metrics.
import concurrency from 'fastify-concurrency'
import { jobs } from '../jobs.mjs'
import { serve } from '../lib/serve.mjs'

await serve(async (app) => {
  await app.register(concurrency, { workers: { jobs }, ...(process.argv[2] === 'on' && { metrics: {} }) })
  app.get('/job', async () => ({ result: await app.workers.run('identity', 1) }))
  app.get('/bare', async () => ({ hello: 'world' }))
})
