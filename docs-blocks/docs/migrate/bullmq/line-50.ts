import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { tasks } from './tasks.ts'

const app = Fastify()
await app.register(concurrency, { tasks: { tasks, concurrency: 20 } })
app.post<{ Body: { to: string } }>('/invitations', async (request, reply) => {
  await app.tasks.enqueue('welcome', { to: request.body.to }, { id: request.body.to, delay: 60_000 })
  return reply.code(202).send()
})
export {}
