import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import 'fastify-concurrency/metrics'
declare const app: FastifyInstance
app.get('/refusals', async () => {
  return app.metrics.snapshot().jobs.map(({ name, refused }) => ({ name, ...refused }))
})
export {}
