// What becomes of a stored task while it runs: it is cancelled, its lock is lost, its function goes on, its connection falls silent.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue, type Job } from 'bullmq'
import { Redis } from 'ioredis'
import tasks, { defineTasks, type TaskContext } from '../../../plugins/tasks/index.ts'
import { drainablesOf } from '../../../plugins/shared/drainables.ts'
import { deferred, logLines, rejection, until } from '../../helper.ts'
import { noRedis, startRedis, type RedisServer } from '../../limiter/redis.ts'
import { build, callsOf, enqueueOf } from './helper.ts'
import { eventually, startProcess } from './processes.ts'

const skip = await noRedis()
t.setTimeout(120_000)

/** Returns the queue of the task `work` as BullMQ's own tools see it. */
function queueOf (t: Test, server: RedisServer, prefix: string): Queue {
  const queue = new Queue('{work}', { prefix: `${prefix}:tasks`, connection: server.client({ maxRetriesPerRequest: null }) as never })
  t.teardown(async () => queue.close())
  return queue
}

async function onlyJob (queue: Queue): Promise<Job> {
  const [job] = await queue.getActive()
  if (job === undefined) throw new Error('No job is active')
  return job
}

/** A task that runs until its signal aborts. */
function waiting (): { began: Promise<void>, signals: AbortSignal[], handler: (payload: unknown, context: TaskContext) => Promise<never> } {
  const [began, signals] = [deferred(), [] as AbortSignal[]]
  return {
    began: began.promise,
    signals,
    handler: async (_payload, { signal }) => {
      signals.push(signal)
      began.resolve()
      return await new Promise((_resolve, reject) => { signal.onabort = () => reject(signal.reason as Error) })
    }
  }
}

/** Listens to a channel of an app. */
function heard (t: Test, app: FastifyInstance, channel: string, then: () => void = () => {}): Array<Record<string, unknown>> {
  const messages: Array<Record<string, unknown>> = []
  const listener = (message: unknown): void => {
    if ((message as { server: object }).server !== app.server) return
    messages.push(message as Record<string, unknown>)
    then()
  }
  subscribe(`fastify-concurrency:${channel}`, listener)
  t.teardown(() => unsubscribe(`fastify-concurrency:${channel}`, listener))
  return messages
}

t.test('a cancel that was published while the connection was away is found when it is back', { skip }, async (t) => {
  const server = await startRedis(t)
  const prefix = randomUUID()
  const { began, signals, handler } = waiting()
  const app = await build(t, server, { prefix, tasks: defineTasks({ work: { handler } }) })
  const outcome = rejection((await enqueueOf(app)('work')).done)
  await began
  const job = await onlyJob(queueOf(t, server, prefix))
  await job.updateData({ ...job.data as object, cancelled: true })
  await server.client().call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  t.match(await outcome, { code: 'FC_ERR_TASK_ABORTED' })
  t.equal(signals[0]?.aborted, true)
})

t.test('a task that was cancelled does not run again when its process has died', { skip }, async (t) => {
  const server = await startRedis(t)
  const redis = server.client()
  const worker = await startProcess(t, { path: server.path, lockDuration: 1_000 })
  const web = await build(t, server, { prefix: 'fastify-concurrency', consume: false, tasks: defineTasks({ wait: { handler () {} } }) })
  const { id, done } = await enqueueOf(web)('wait')
  const outcome = rejection(done)
  await eventually(async () => await redis.llen('waiting') === 1, 'it runs')
  process.kill(worker.pid, 'SIGSTOP')
  t.equal(await web.tasks.cancel(id), true)
  await worker.kill()
  await startProcess(t, { path: server.path, lockDuration: 1_000 })
  t.match(await outcome, { code: 'FC_ERR_TASK_ABORTED' })
  t.equal(await redis.llen('waiting'), 1, 'it has run once')
  t.match(await web.tasks.queues(), [{ name: 'wait', waiting: 0, running: 0, failed: 0 }])
})

t.test('a task that was cancelled and still runs can not be joined', { skip }, async (t) => {
  const server = await startRedis(t)
  const [began, go] = [deferred(), deferred()]
  const app = await build(t, server, { grace: 60_000, tasks: defineTasks({ work: { handler: async () => { began.resolve(); await go.promise } } }) })
  const { id } = await enqueueOf(app)('work', undefined, { id: 'x' })
  await began.promise
  t.equal((await enqueueOf(app)('work', undefined, { id: 'x', duplicate: 'join' })).id, id)
  t.equal(await app.tasks.cancel(id), true)
  t.match(await rejection(enqueueOf(app)('work', undefined, { id: 'x', duplicate: 'join' })), { code: 'FC_ERR_TASK_DUPLICATE' })
  go.resolve()
})

t.test('a shutdown hands back what it gives up, and not what was cancelled', { skip }, async (t) => {
  const server = await startRedis(t)
  const prefix = randomUUID()
  const [both, givingUp] = [deferred(), deferred()]
  let running = 0
  const handler = async (isCancelled: boolean, { signal }: TaskContext): Promise<void> => {
    if (++running === 2) both.resolve()
    await new Promise((resolve) => { signal.onabort = resolve })
    if (isCancelled) await givingUp.promise
    givingUp.resolve()
    throw signal.reason
  }
  const app = await build(t, server, { prefix, closeTimeout: 20, grace: 5_000, tasks: defineTasks({ work: { handler } }) })
  const web = await build(t, server, { prefix, consume: false, tasks: defineTasks({ work: { handler } }) })
  const [cancelled] = [await enqueueOf(web)('work', true), await enqueueOf(web)('work', false)]
  const outcome = rejection(cancelled.done)
  await both.promise
  t.equal(await web.tasks.cancel(cancelled.id), true)
  await app.close()
  t.match(await outcome, { code: 'FC_ERR_TASK_ABORTED' })
  t.match(await web.tasks.queues(), [{ waiting: 1, running: 0, failed: 0 }])
})

t.test('cancel() of an id that no task has touches nothing', { skip }, async (t) => {
  const server = await startRedis(t)
  const prefix = randomUUID()
  const app = await build(t, server, { prefix, consume: false, tasks: defineTasks({ work: { handler () {} } }) })
  await callsOf(app).schedule('work', { every: 60_000 }, undefined, { id: 's' })
  await enqueueOf(app)('work', undefined, { id: 'x', delay: 60_000 })
  await enqueueOf(app)('work')
  const redis = server.client()
  const keys = await redis.keys(`${prefix}:*`)
  const isTask = /:[\da-f]{8}-[\da-f-]{27}$|:repeat:s:\d+$/
  for (const key of keys) {
    const isMeant = isTask.test(key) && await redis.hget(key, 'deid') === null
    t.equal(await app.tasks.cancel(`work:${key.slice(`${prefix}:tasks:{work}:`.length)}`), isMeant, key)
  }
  const left = await redis.keys(`${prefix}:*`)
  t.same(keys.filter((key) => !left.includes(key) && !isTask.test(key)), [], 'no key of the queue is gone, nor the schedule')
  t.equal(await app.tasks.cancel('work:x'), true)
  t.equal(await callsOf(app).unschedule('work', { id: 's' }), true)
})

t.test('the next run of a schedule is not cancelled alone', { skip }, async (t) => {
  const server = await startRedis(t)
  const prefix = randomUUID()
  const app = await build(t, server, { prefix, consume: false, tasks: defineTasks({ work: { handler () {} } }) })
  await callsOf(app).schedule('work', { cron: '0 0 1 1 *' })
  const [job] = await queueOf(t, server, prefix).getDelayed()
  t.equal(await app.tasks.cancel(`work:${job?.id}`), false)
  t.equal((await app.tasks.queues())[0]?.delayed, 1)
})

t.test('a task whose lock is lost is aborted, is published as recovered, and runs once more', { skip }, async (t) => {
  const server = await startRedis(t)
  const prefix = randomUUID()
  const began = deferred()
  const reasons: string[] = []
  let runs = 0
  const app = await build(t, server, {
    prefix,
    lockDuration: 1_000,
    tasks: defineTasks({
      work: {
        handler: async (_payload: unknown, { signal }) => {
          if (++runs === 2) return 'again'
          began.resolve()
          return await new Promise((_resolve, reject) => {
            signal.onabort = () => {
              reasons.push((signal.reason as Error).message)
              reject(signal.reason as Error)
            }
          })
        }
      }
    })
  })
  const retried = heard(t, app, 'tasks:retried')
  const { id, done } = await enqueueOf(app)('work')
  await began.promise
  const { id: jobId } = await onlyJob(queueOf(t, server, prefix))
  await server.client().del(`${prefix}:tasks:{work}:${jobId}:lock`)
  t.equal(await done, 'again')
  t.match(reasons, [/its lock has expired/])
  await until(() => retried.length > 0, 'it is published')
  t.match(retried, [{ id, attempt: 1, error: { code: 'FC_ERR_TASK_CRASHED' }, delayMs: 0 }])
})

t.test('a function that ignores its signal frees its id, but its process runs no other task of the id until it has ended', { skip }, async (t) => {
  const server = await startRedis(t)
  const [began, go] = [deferred(), deferred()]
  const runs: number[] = []
  const app = await build(t, server, { grace: 1, tasks: defineTasks({ work: { handler: async (n: number) => { runs.push(n); began.resolve(); if (n === 1) await go.promise } } }) })
  const first = await enqueueOf(app)('work', 1, { id: 'x', timeout: 10 })
  t.match(await rejection(first.done), { code: 'FC_ERR_TASK_TIMEOUT' })
  const second = await enqueueOf(app)('work', 2, { id: 'x' })
  await eventually(async () => (await app.tasks.queues())[0]?.delayed === 1, 'it is put off')
  t.same(runs, [1])
  go.resolve()
  await second.done
  t.same(runs, [1, 2])
})

t.test('a stall of the event loop is not a late answer of Redis', { skip }, async (t) => {
  const server = await startRedis(t)
  const app = await build(t, server, { consume: false, storeTimeout: 100, tasks: defineTasks({ work: { handler () {} } }) })
  await enqueueOf(app)('work')
  const accepted = enqueueOf(app)('work')
  // The command is on its way.
  await new Promise((resolve) => { setImmediate(resolve) })
  const end = performance.now() + 300
  while (performance.now() < end);
  t.match((await accepted).id, /^work:/)
})

t.test('many tasks that are enqueued at once are accepted while Redis answers, however long all of them take', { skip }, async (t) => {
  const server = await startRedis(t)
  const app = await build(t, server, { consume: false, storeTimeout: 300, tasks: defineTasks({ work: { handler () {} } }) })
  await enqueueOf(app)('work')
  const outcomes = await Promise.allSettled(Array.from({ length: 30_000 }, async (_, n) => enqueueOf(app)('work', n)))
  t.same(outcomes.filter(({ status }) => status === 'rejected').slice(0, 1), [])
  t.match(await app.tasks.queues(), [{ waiting: 30_001 }])
})

t.test('a task that was enqueued just before close() is accepted', { skip }, async (t) => {
  const server = await startRedis(t)
  const app = Fastify() as unknown as FastifyInstance
  await app.register(tasks, { redis: server.client(), consume: false, tasks: defineTasks({ work: { handler () {} } }) })
  await app.ready()
  const accepted = Array.from({ length: 5_000 }, async (_, n) => enqueueOf(app)('work', n, { id: `${n % 2_500}`, duplicate: 'join' }))
  await app.close()
  t.equal((await Promise.all(accepted)).length, 5_000)
  t.match(await rejection(enqueueOf(app)('work')), { code: 'FC_ERR_CLOSING' })
})

t.test('a task that holds the event loop for longer than its lock lasts runs again, and a line at warn says why', { skip }, async (t) => {
  const server = await startRedis(t)
  const { lines, logger } = logLines()
  let runs = 0
  const app = await build(t, server, {
    lockDuration: 1_000,
    tasks: defineTasks({
      work: {
        handler () {
          const end = performance.now() + (runs++ === 0 ? 1_500 : 0)
          while (performance.now() < end);
        }
      }
    })
  }, { logger })
  await (await enqueueOf(app)('work')).done
  t.equal(runs, 2)
  t.match(lines.filter(({ level }) => level >= 40), [{ msg: /appendonly/ }, { msg: /lost its lock.*it runs, or has run, elsewhere.*event loop/, task: 'work' }, { msg: /lost its process/ }])
})

t.test('a function that ignores its signal is named once, while Redis can not be told of its outcome', { skip }, async (t) => {
  const server = await startRedis(t)
  const [began, leaked, go] = [deferred(), deferred(), deferred()]
  const app = await build(t, server, { grace: 1, closeTimeout: 1, tasks: defineTasks({ work: { handler: async () => { began.resolve(); await go.promise }, timeout: 50 } }) })
  heard(t, app, 'tasks:leaked', leaked.resolve)
  await enqueueOf(app)('work', undefined, { id: 'x' })
  await began.promise
  server.signal('SIGSTOP')
  t.teardown(() => server.signal('SIGCONT'))
  await leaked.promise
  const held = [...drainablesOf(app)].flatMap((drainable) => drainable.held?.() ?? [])
  t.match(held, [{ id: 'work:x' }])
  t.equal(held.length, 1)
  go.resolve()
  server.signal('SIGCONT')
})

t.test('log lines of a stored task carry the id of the request that enqueued it', { skip }, async (t) => {
  const server = await startRedis(t)
  const { lines, logger } = logLines()
  const app = Fastify({ logger, genReqId: () => 'request-7' }) as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(tasks, { redis: server.client(), tasks: defineTasks({ work: { handler: (_payload: unknown, { log }) => { log.info('in the task') } } }) })
  app.get('/', async () => { await (await enqueueOf(app)('work')).done })
  await app.inject('/')
  t.match(lines.find(({ msg }) => msg === 'in the task'), { reqId: 'request-7', task: /^work:/ })
})

t.test('a client of an application that gives up, that is slow to ask or that bounds its commands changes nothing for tasks', { skip }, async (t) => {
  const server = await startRedis(t)
  const given = new Redis(server.path, { lazyConnect: true, commandTimeout: 1, retryStrategy: () => null })
  given.on('error', () => {})
  t.teardown(() => given.disconnect())
  const { lines, logger } = logLines()
  const app = await build(t, { client: () => given }, { tasks: defineTasks({ work: { handler: (n: number) => n } }) }, { logger })
  // A worker's read blocks for longer than the application's own commands may take.
  t.equal(await (await enqueueOf(app)('work', 1, { delay: 50 })).done, 1)
  await server.kill()
  await until(() => lines.some(({ msg }) => msg.includes('Redis is away')), 'Redis is away')
  await server.start()
  await until(() => lines.some(({ msg }) => msg.includes('Redis is back')), 'Redis is back')
  t.equal(await (await enqueueOf(app)('work', 2)).done, 2)
})

t.test('a process that is asked to end while Redis is away ends', { skip }, async (t) => {
  const server = await startRedis(t)
  const process = await startProcess(t, { path: server.path, timeout: 500 })
  await process.ask({ do: 'enqueue', task: 'wait' })
  const redis = server.client()
  await eventually(async () => await redis.llen('waiting') === 1, 'it runs')
  await server.kill()
  // Its connections are waiting to connect again.
  await sleep(1_000)
  const code = await Promise.race([process.terminate(), sleep(15_000, 'still there', { ref: false })])
  t.equal(code, 0)
})

t.test('a process that is asked to end while Redis is frozen ends, also if its connections are opened anew meanwhile', { skip }, async (t) => {
  const server = await startRedis(t, { tcp: true })
  const process = await startProcess(t, { path: `redis://127.0.0.1:${server.port}`, lockDuration: 3_000 })
  await process.ask({ do: 'enqueue', task: 'rest' })
  const redis = server.client()
  await eventually(async () => await redis.llen('begun') === 1, 'it runs')
  server.signal('SIGSTOP')
  // Connections wait for 12 s. They are opened anew while the process closes.
  await sleep(4_600)
  const code = await Promise.race([process.terminate(), sleep(30_000, 'still there', { ref: false })])
  server.signal('SIGCONT')
  t.equal(code, 0)
})
