// app.ts
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { tasks } from './tasks.ts'

const { REDIS_URL, ROLE = 'both', PORT = '3000' } = process.env

const app = Fastify({ logger: true })
await app.register(concurrency, {
  ...REDIS_URL !== undefined && { redis: REDIS_URL },
  tasks: { tasks, consume: ROLE !== 'web', concurrency: 4 }
})

app.post<{ Params: { month: string } }>('/reports/:month', async (request, reply) => {
  const { month } = request.params
  await app.tasks.enqueue('report', { month }, { id: month })
  return reply.code(202).send()
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => { void app.lifecycle.shutdown(signal) })
if (ROLE === 'worker') await app.ready()
else await app.listen({ port: Number(PORT) })
