// Our suite with default options.
import concurrency from 'fastify-concurrency'
import { jobs } from '../jobs.mjs'
import { iterationsOf, serve } from '../lib/serve.mjs'

/** @param {import('fastify').FastifyRequest} request */
function options (request) {
  const key = request.headers['x-key']
  return typeof key === 'string' ? { key } : {}
}

await serve(async (app) => {
  await app.register(concurrency, { workers: { jobs } })
  app.get('/work', async (request) => ({ result: await app.workers.run('spin', iterationsOf(request), options(request)) }))
  app.get('/report', async (request) => ({ result: await app.workers.run('report', iterationsOf(request)) }))
})
