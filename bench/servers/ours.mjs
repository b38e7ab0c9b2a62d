// Our suite with default options.
import concurrency from 'fastify-concurrency'
import { jobs } from '../jobs.mjs'
import { countedAnswer, iterationsOf, serve } from '../lib/serve.mjs'

await serve(async (app) => {
  await app.register(concurrency, { workers: { jobs } })
  app.get('/empty', async () => ({ result: await app.workers.run('identity', 1) }))
  app.get('/nap', async () => ({ result: await app.workers.run('nap', 10) }))
  app.get('/work', async (request) => countedAnswer(await app.workers.run('counted', iterationsOf(request))))
})
