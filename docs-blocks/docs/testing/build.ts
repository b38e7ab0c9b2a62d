import Fastify, { type FastifyInstance } from 'fastify'
import concurrency from 'fastify-concurrency'
import { jobs } from './jobs.ts'
export function build (): FastifyInstance {
  const app = Fastify()
  app.register(concurrency, { workers: { jobs, maxThreads: 1 } })
  app.get<{ Querystring: { limit: string } }>('/primes', async (request) => app.workers.run('primes', Number(request.query.limit)))
  app.post('/users', async (request, reply) => {
    app.tasks.submit(`welcome:${request.id}`, async () => { mails.push('welcome') })
    return reply.code(201).send()
  })
  return app
}
export const mails: string[] = []
