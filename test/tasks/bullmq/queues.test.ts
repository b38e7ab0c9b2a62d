// What queues() says of tasks that nobody runs: processes that were killed, and tasks whose delay is over.
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { Queue } from 'bullmq'
import concurrency from '../../../plugins/index.ts'
import { defineTasks } from '../../../plugins/tasks/index.ts'
import { noRedis, startRedis } from '../../limiter/redis.ts'

t.test('a delayed task whose time has come waits; a process that is silent consumes nothing; and whether Redis answers is a metric', { skip: await noRedis() }, async (t) => {
  const server = await startRedis(t)
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(async () => app.close())
  const tasks = defineTasks({ mail: { handler () {} } })
  await app.register(concurrency, { workers: false, redis: server.client(), tasks: { tasks, consume: false }, metrics: { path: '/metrics' } })
  await app.ready()
  const redis = server.client()
  const jobs = new Queue('{mail}', { prefix: 'fastify-concurrency:tasks', connection: server.client({ maxRetriesPerRequest: null }) as never })
  t.teardown(async () => jobs.close())
  await jobs.add('mail', {}, { timestamp: Date.now() - 20_000, delay: 10_000 })
  await jobs.add('mail', {}, { delay: 600_000 })
  const member = (uuid: string): string => JSON.stringify({ name: 'vm:1', consumes: ['mail'], concurrency: 1, startedAt: 0, uuid })
  await redis.zadd('fastify-concurrency:tasks:processes', Date.now() - 16_000, member('killed'))
  const [queue] = await app.tasks.queues()
  t.match(queue, { waiting: 1, delayed: 1, running: 0, processes: 0 })
  t.ok((queue?.oldestMs ?? 0) >= 10_000 && (queue?.oldestMs ?? 0) < 20_000, 'late since its delay was over')
  await redis.zadd('fastify-concurrency:tasks:processes', Date.now(), member('alive'))
  t.match(await app.tasks.queues(), [{ processes: 1 }])
  const values = async (): Promise<string> => (await app.inject('/metrics')).body
  t.match(await values(), /stored_tasks_processes\{task="mail"\} 1\n[^]*stored_tasks_up 1\n/)
  await server.kill()
  const without = await values()
  t.match(without, /stored_tasks_up 0\n/)
  t.notMatch(without, /stored_tasks_processes\{/)
})
