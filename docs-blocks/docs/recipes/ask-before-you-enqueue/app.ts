// app.ts
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.ts'

const app = Fastify({ bodyLimit: 50 * 1024 * 1024 })
await app.register(concurrency, { workers: { jobs } })

app.post<{ Body: string }>('/words', {
  // Before the body is received: 50 MB would be read only to be refused.
  onRequest: async (_request, reply) => {
    if (app.workers.canRun('countWords')) return
    return reply.code(503).headers({ 'retry-after': '2', connection: 'close' }).send({ message: 'Too busy for an upload, try again in 2 s' })
  }
}, async (request) => {
  return { words: await app.workers.run('countWords', request.body) }
})

await app.listen({ port: 3000 })
