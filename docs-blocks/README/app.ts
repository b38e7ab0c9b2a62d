// app.ts
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.ts'

const app = Fastify()
await app.register(concurrency, { workers: { jobs, maxWait: 2_000 }, dashboard: {} })

app.get<{ Querystring: { limit: string } }>('/primes', async (request) => {
  return app.workers.run('primes', Number(request.query.limit))   // on a worker thread
})

await app.listen({ port: 3000 })
