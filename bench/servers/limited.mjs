// Answers GET / at once; with `ours`, behind a policy that grants each request.
import concurrency from 'fastify-concurrency'
import { definePolicies } from 'fastify-concurrency/limiter'
import { serve } from '../lib/serve.mjs'

await serve(async (app) => {
  if (process.argv[2] === 'ours') {
    const policies = definePolicies({ all: { rate: 1e6, burst: 1e6, routes: 'all' } })
    await app.register(concurrency, { limiter: { policies } })
  }
  app.get('/', async () => ({ result: 1 }))
})
