// Which tasks are given up because their processes end: those that end them, and no others.
import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { defineTasks } from '../../../plugins/tasks/index.ts'
import { noRedis, startRedis } from '../../limiter/redis.ts'
import { deferred } from '../../helper.ts'
import { build, enqueueOf } from './helper.ts'
import { eventually } from './processes.ts'

const skip = await noRedis()

interface Scene {
  redis: Redis
  /** Stores a task, as if its process had ended `ends` times while it was there. */
  store (payload: unknown, ends: number, options?: object): Promise<{ key: string, done: Promise<unknown> }>
  consume (handler: (payload: never) => unknown): Promise<FastifyInstance>
}

async function scene (t: Test): Promise<Scene> {
  const server = await startRedis(t)
  const [redis, prefix] = [server.client(), randomUUID()]
  const web = await build(t, server, { prefix, consume: false, tasks: defineTasks({ work: { handler () {} } }) })
  return {
    redis,
    async store (payload, ends, options = {}) {
      const { id, done } = await enqueueOf(web)('work', payload, options)
      const key = `${prefix}:tasks:{work}:${id.slice('work:'.length)}`
      await redis.hset(key, 'stc', ends)
      return { key, done }
    },
    consume: async (handler) => await build(t, server, { prefix, tasks: defineTasks({ work: { handler, backoff: { base: 1 } } }) })
  }
}

const codeOf = (done: Promise<unknown>): Promise<unknown> => done.then(() => 'completed', (error: { code?: string }) => error.code ?? error)

t.test('a task that was beside others when they ended its process is never given up for it', { skip }, async (t) => {
  const { store, consume } = await scene(t)
  const { done } = await store(1, 1_000)
  await consume((n: number) => n + 1)
  t.equal(await done, 2)
})

t.test('a suspect whose process has ended in three of its own runs is given up, and tried anew if somebody retries it', { skip }, async (t) => {
  const { redis, store, consume } = await scene(t)
  const { key, done } = await store(1, 5)
  await redis.hset(key, 'fc:suspect', 3)
  const runs: number[] = []
  await consume((n: number) => { runs.push(n) })
  t.equal(await codeOf(done), 'FC_ERR_TASK_CRASHED')
  t.same(runs, [])
  t.equal(await redis.hget(key, 'fc:suspect'), null)
})

t.test('runs of a suspect that its process survives are not counted', { skip }, async (t) => {
  const { store, consume } = await scene(t)
  const { done } = await store(1, 2, { retries: 5 })
  let runs = 0
  await consume(() => {
    if (++runs <= 5) throw new Error('again')
    return 'at last'
  })
  t.equal(await done, 'at last')
})

t.test('a process runs one suspect at a time, beside tasks that are none', { skip }, async (t) => {
  const { store, consume } = await scene(t)
  const suspects = [await store(1, 2), await store(2, 2)]
  const others = [await store(3, 1), await store(4, 0)]
  const running: number[] = []
  let [most, isOpen] = [0, false]
  const go = deferred()
  const app = await consume(async (n: number) => {
    if (n <= 2) {
      running.push(n)
      most = Math.max(most, running.length)
      if (!isOpen) await go.promise
      running.pop()
    }
  })
  await Promise.all(others.map(({ done }) => done))
  await eventually(async () => (await app.tasks.queues())[0]?.delayed === 1, 'the second suspect waits')
  t.equal(running.length, 1)
  isOpen = true
  go.resolve()
  await Promise.all(suspects.map(({ done }) => done))
  t.equal(most, 1)
})
