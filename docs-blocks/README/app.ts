// app.ts
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.ts'

const app = Fastify()
await app.register(concurrency, { workers: { jobs } })

app.get<{ Querystring: { limit: string } }>('/primes', async (request) => {
  return app.workers.run('primes', Number(request.query.limit))
})

await app.listen({ port: 3000 })
