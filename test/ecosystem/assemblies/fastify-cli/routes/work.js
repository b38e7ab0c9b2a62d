import { work } from '../../../shared/work.js'

export default async function (fastify) {
  fastify.get('/work', (request) => work(request, request.query.ms))

  // Nobody waits for the mail but the shutdown.
  fastify.post('/mails', async (request, reply) => {
    fastify.tasks.submit(`mail:${request.id}`, async ({ signal }) => {
      fastify.log.info('work begins')
      await fastify.workers.run('work', Number(request.query.ms), { signal })
      fastify.log.info('mail sent')
    })
    return reply.code(202).send('accepted')
  })
}
