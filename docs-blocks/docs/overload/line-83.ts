import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './jobs.ts'
declare const app: FastifyInstance
import { WorkersOverloadedError } from 'fastify-concurrency'

app.get('/thumbnail', async (request, reply) => {
  try {
    return await app.workers.run('thumbnail', 320)
  } catch (error) {
    if (!(error instanceof WorkersOverloadedError)) throw error
    request.log.info({ reason: error.reason, waiting: error.waiting }, 'a placeholder instead')
    return reply.redirect('/placeholder.png')   // something cheap is often better than a 503
  }
})
export {}
