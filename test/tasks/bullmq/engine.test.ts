import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { Queue } from 'bullmq'
import suite from '../../../plugins/index.ts'
import tasks, { defineTasks, type TaskContext, type TasksOptions } from '../../../plugins/tasks/index.ts'
import { TaskAbortedError } from '../../../plugins/shared/errors.ts'
import { findings } from '../../../plugins/tasks/bullmq/boot-checks.ts'
import { Failure, toError, toOptions, toRetryOptions, toStored, type StoredTask } from '../../../plugins/tasks/bullmq/stored.ts'
import { defaultTaskOptions, type TaskOptions } from '../../../plugins/tasks/task-options.ts'
import { deferred, logLines, rejection, until } from '../../helper.ts'
import { noRedis, startRedis } from '../../limiter/redis.ts'
import { engineContract } from '../named/engine-contract.ts'
import { build, callsOf, enqueueOf } from './helper.ts'
import { eventually } from './processes.ts'

const skip = await noRedis()

t.test('on Redis', { skip }, async (t) => {
  const server = await startRedis(t)

  engineContract(t, { name: 'BullMQ', build: async (t, options) => build(t, server, options) })

  t.test('a function can\'t be stored: retryIf belongs into the definition', async (t) => {
    const app = await build(t, server, { tasks: defineTasks({ work: { handler () {} } }) })
    t.match(await rejection(enqueueOf(app)('work', 1, { retryIf: () => true })), { code: 'FC_ERR_OPTION_INVALID', message: /retryIf.*definition/ })
  })

  t.test('a result that JSON can\'t hold does not make its task run again', async (t) => {
    const { lines, logger } = logLines()
    let calls = 0
    const app = await build(t, server, { tasks: defineTasks({ work: { handler () { calls++; return { n: 1n } }, retries: 3 } }) }, { logger })
    t.equal(await (await enqueueOf(app)('work')).done, undefined)
    t.equal(calls, 1)
    t.ok(lines.some(({ msg }) => msg.includes('can\'t be stored as JSON')))
  })

  t.test('the outcome of a task that ended before anybody asked is kept', async (t) => {
    const app = await build(t, server, { tasks: defineTasks({ work: { handler: (n: number) => { if (n < 0) throw new RangeError('negative'); return n } } }) })
    const handles = [await enqueueOf(app)('work', 1), await enqueueOf(app)('work', -1)]
    await until(() => app.tasks.stats().completed + app.tasks.stats().failed === 2, 'both have run')
    await app.tasks.idle()
    t.equal(await handles[0]?.done, 1)
    t.match(await rejection(handles[1]!.done), { name: 'RangeError', message: 'negative' })
  })

  t.test('a task that has failed once and then completed has completed, also if nobody asked before', async (t) => {
    const app = await build(t, server, { tasks: defineTasks({ work: { handler: (_payload: unknown, { attempt }: TaskContext) => { if (attempt === 1) throw new Error('once'); return attempt }, retries: 1, backoff: { base: 1, max: 1 } } }) })
    const handle = await enqueueOf(app)('work')
    await until(() => app.tasks.stats().completed === 1, 'it has completed')
    await app.tasks.idle()
    t.equal(await handle.done, 2)
  })

  t.test('a process that closes does not know the outcome of what goes on elsewhere, and what waits stays stored', async (t) => {
    const prefix = randomUUID()
    const seen: number[] = []
    const definitions = defineTasks({ work: { handler: (n: number) => { seen.push(n) } } })
    const web = await build(t, server, { prefix, consume: false, tasks: definitions })
    const { done, status } = await enqueueOf(web)('work', 1)
    const outcome = rejection(done)
    t.equal(status, 'waiting')
    // The process listens to the queue when it knows this outcome.
    const other = await enqueueOf(web)('work', 2)
    const cancelled = rejection(other.done)
    other.cancel()
    await cancelled
    await web.close()
    t.match(await outcome, { code: 'FC_ERR_CLOSING' })
    t.same(seen, [])
    await build(t, server, { prefix, tasks: definitions })
    await until(() => seen.length === 1, 'another process runs it')
  })

  t.test('consume: a process runs the names that it consumes, and may enqueue all', async (t) => {
    const prefix = randomUUID()
    const ran: string[] = []
    const definitions = (who: string): TasksOptions['tasks'] => defineTasks({ mail: { handler: () => { ran.push(`${who} mail`) } }, report: { handler: () => { ran.push(`${who} report`) } } })
    const web = await build(t, server, { prefix, consume: ['mail'], tasks: definitions('web')! })
    await enqueueOf(web)('mail')
    await enqueueOf(web)('report')
    await until(() => ran.length === 1, 'mail runs')
    t.match(await web.tasks.queues(), [{ name: 'mail' }, { name: 'report', waiting: 1 }])
    await build(t, server, { prefix, consume: ['report'], tasks: definitions('worker')! })
    await until(() => ran.length === 2, 'report runs')
    t.same(ran, ['web mail', 'worker report'])
  })

  t.test('queues() counts what is stored', async (t) => {
    const [go, began] = [deferred(), deferred()]
    const app = await build(t, server, { concurrency: 1, tasks: defineTasks({ work: { handler: async (fails: boolean) => { if (fails) throw new Error('x'); began.resolve(); await go.promise } } }) })
    const enqueue = enqueueOf(app)
    await rejection((await enqueue('work', true)).done)
    await enqueue('work', false)
    await began.promise
    await enqueue('work', false)
    await enqueue('work', false, { delay: 60_000 })
    const [queue] = await app.tasks.queues()
    t.match(queue, { name: 'work', waiting: 1, delayed: 1, running: 1, failed: 1 })
    await eventually(async () => ((await app.tasks.queues())[0]?.oldestMs ?? 0) >= 50, 'the task that waits grows older')
    await enqueue('work', false)
    t.ok(((await app.tasks.queues())[0]?.oldestMs ?? 0) >= 50, 'a younger one does not count')
    go.resolve()
  })

  t.test('metrics: a snapshot and a scrape hold what is stored, of all processes', async (t) => {
    const prefix = randomUUID()
    const definitions = defineTasks({ work: { handler () {} } })
    const web = await build(t, server, { prefix, consume: false, tasks: definitions })
    await enqueueOf(web)('work')
    const app = Fastify()
    t.teardown(async () => app.close())
    await app.register(suite, { redis: server.client(), tasks: { prefix, consume: false, tasks: definitions }, metrics: { path: '/metrics' } })
    await app.ready()
    const { body } = await app.inject('/metrics')
    t.match(body, /fastify_concurrency_stored_tasks\{task="work",state="waiting"\} 1\n/)
    t.match(body, /fastify_concurrency_stored_tasks_oldest_seconds\{task="work"\} \d/)
    await until(() => app.metrics.snapshot().queues.length === 1, 'a snapshot has asked')
    t.match(app.metrics.snapshot().queues, [{ name: 'work', waiting: 1, delayed: 0, running: 0, failed: 0 }])
  })

  t.test('maxStored: a queue that holds as many tasks refuses more, in each process, until some have run', async (t) => {
    const prefix = randomUUID()
    const definitions = defineTasks({ work: { handler () {} } })
    const [one, other] = [await build(t, server, { prefix, consume: false, maxStored: 3, tasks: definitions }), await build(t, server, { prefix, consume: false, maxStored: 3, tasks: definitions })]
    for (let n = 0; n < 3; n++) await enqueueOf(one)('work', n, { delay: n * 60_000 })
    const error = await rejection(enqueueOf(one)('work'))
    t.match(error, { code: 'FC_ERR_TASKS_FULL', statusCode: 503, waiting: 3, limit: 3, headers: { 'retry-after': '1' } })
    // The first call asks Redis, and a later one knows its answer.
    await enqueueOf(other)('work', 3, { id: 'probe' })
    await eventually(async () => (await enqueueOf(other)('work', 4, { id: 'probe' }).then(() => '', ({ code }: { code: string }) => code)) === 'FC_ERR_TASKS_FULL', 'the other process knows it')
    await build(t, server, { prefix, tasks: definitions })
    await eventually(async () => (await enqueueOf(one)('work', 5).then(() => true, () => false)), 'there is room again')
  })

  t.test('errors that BullMQ takes for commands are errors', async (t) => {
    let runs = 0
    const errors = [new Error('bullmq:rateLimitExceeded'), Object.assign(new Error('x'), { name: 'UnrecoverableError' }), Object.assign(new Error('x'), { name: 'DelayedError' }), Object.assign(new Error('x'), { name: 'WaitingError' })]
    for (const error of errors) {
      const app = await build(t, server, { prefix: randomUUID(), tasks: defineTasks({ work: { handler () { runs++; throw error }, retries: 1, backoff: { base: 1, max: 1 } } }) })
      runs = 0
      await t.rejects((await enqueueOf(app)('work')).done, { message: new RegExp(error.message), name: error.name })
      t.equal(runs, 2, error.name)
    }
  })

  t.test('keep: no more than so many ended tasks are kept', async (t) => {
    const prefix = randomUUID()
    const app = await build(t, server, { prefix, concurrency: 1, keep: { completed: 2, failed: 1 }, tasks: defineTasks({ work: { handler: (fails: boolean) => { if (fails) throw new Error('x') } } }) })
    for (const fails of [true, false, true, false, false]) await (await enqueueOf(app)('work', fails)).done.catch(() => {})
    const queue = new Queue('{work}', { prefix: `${prefix}:tasks`, connection: server.client({ maxRetriesPerRequest: null }) as never })
    t.match(await queue.getJobCounts('completed', 'failed'), { completed: 2, failed: 1 })
    await queue.close()
  })

  t.test('a shutdown that gives up hands the task back, and another process takes it at once', async (t) => {
    const prefix = randomUUID()
    const runs: string[] = []
    const began = deferred()
    const definitions = (who: string): TasksOptions['tasks'] => defineTasks({
      work: {
        handler: async (_payload: unknown, { attempt, signal }) => {
          runs.push(`${who} ${attempt}`)
          began.resolve()
          if (who === 'first') await new Promise((_resolve, reject) => { signal.onabort = () => reject(signal.reason as Error) })
          return who
        }
      }
    })
    // Much longer than the test takes: no lock expires.
    const web = await build(t, server, { prefix, consume: false, tasks: definitions('web')! })
    const { lines, logger } = logLines()
    const first = await build(t, server, { prefix, closeTimeout: 20, grace: 1_000, tasks: definitions('first')! }, { logger })
    const { done } = await enqueueOf(web)('work', undefined, { id: 'x' })
    await began.promise
    await first.close()
    t.ok(lines.some(({ msg }) => msg.includes('handed back')))
    await build(t, server, { prefix, tasks: definitions('second')! })
    t.equal(await done, 'second')
    t.same(runs, ['first 1', 'second 1'], 'the attempt that was interrupted does not count')
  })

  t.test('schedules: a task runs again and again until it is unscheduled; who schedules it again replaces the schedule', async (t) => {
    const runs: Array<{ payload: unknown, id: string, key: string }> = []
    const prefix = randomUUID()
    const app = await build(t, server, { prefix, tasks: defineTasks({ sweep: { handler: (payload: unknown, { id, idempotencyKey }) => { runs.push({ payload, id, key: idempotencyKey }) } }, other: { handler () {}, retries: 2 } }) })
    const { schedule, unschedule } = callsOf(app)
    await schedule('sweep', { cron: '* * * * * *' }, 'old')
    await schedule('sweep', { cron: '* * * * * *' }, 'new')
    await until(() => runs.length >= 2, 'it has run twice')
    t.same(runs[0]?.payload, 'new')
    t.match(runs[0]?.id, /^sweep:repeat:default:\d+$/)
    t.not(runs[0]?.key, runs[1]?.key)
    t.equal(await unschedule('sweep'), true)
    t.equal(await unschedule('sweep'), false)
    const [sweep] = await app.tasks.queues()
    t.equal(sweep?.delayed, 0)
    await schedule('other', { every: 60_000 }, undefined, { id: 'a' })
    await schedule('other', { cron: '0 3 * * *', timezone: 'Europe/Berlin' }, undefined, { id: 'b' })
    t.equal(await unschedule('other', { id: 'a' }), true)
    await schedule('other', { cron: '0 3 * * *' }, 7)
    const queue = new Queue('{other}', { prefix: `${prefix}:tasks`, connection: server.client({ maxRetriesPerRequest: null }) as never })
    t.match(await queue.getJobScheduler('b'), { pattern: '0 3 * * *', tz: 'Europe/Berlin' })
    t.match(await queue.getJobScheduler('default'), { tz: 'UTC', template: { data: { payload: 7 }, opts: { attempts: 3 } } })
    await queue.close()
    for (const when of [{ cron: 'every night' }, { cron: '0 3 * * *', timezone: 'Atlantis' }]) {
      t.match(await rejection(schedule('other', when)), { code: 'FC_ERR_OPTION_INVALID' }, JSON.stringify(when))
    }
  })

  t.test('two tasks with the same schedule are two: each has a key of its own, and cancel() reaches the one that is meant', async (t) => {
    const runs: Array<{ id: string, key: string, signal: AbortSignal }> = []
    const task = {
      handler: async (_payload: unknown, { id, idempotencyKey, signal }: TaskContext) => {
        runs.push({ id, key: idempotencyKey, signal })
        await new Promise((resolve) => { signal.onabort = resolve })
        throw signal.reason
      }
    }
    const app = await build(t, server, { closeTimeout: 1, grace: 1_000, tasks: defineTasks({ one: task, two: task }) })
    for (const name of ['one', 'two']) await callsOf(app).schedule(name, { cron: '* * * * * *' })
    const ownId = ({ id }: { id: string }): string => id.slice(id.indexOf(':') + 1)
    /** Two runs at the same moment. */
    let pair: typeof runs = []
    await until(() => (pair = runs.filter((run) => runs.some((other) => other !== run && ownId(other) === ownId(run)))).length >= 2, 'both have run at the same moment')
    for (const name of ['one', 'two']) await callsOf(app).unschedule(name)
    const [first, second] = pair
    t.not(first?.key, second?.key)
    t.equal(await app.tasks.cancel(first?.id ?? ''), true)
    await until(() => first?.signal.aborted === true || second?.signal.aborted === true, 'one is aborted')
    t.same([first?.signal.aborted, second?.signal.aborted], [true, false])
  })

  t.test('a client that was passed stays open, and what the engine opened is closed', async (t) => {
    const client = server.client()
    await client.ping()
    const clients = async (): Promise<number> => Number(/connected_clients:(\d+)/.exec(await client.info('clients'))?.[1])
    const before = await clients()
    const app = await build(t, server, { redis: client, tasks: defineTasks({ work: { handler () {} } }) })
    await (await enqueueOf(app)('work')).done
    t.ok(await clients() > before)
    await app.close()
    t.equal(await client.ping(), 'PONG')
    await eventually(async () => await clients() <= before, 'the connections are closed')
  })

  t.test('the suite: no named task needs no BullMQ, and a client without duplicate() is refused where tasks have names', async (t) => {
    const client = { evalSha: async () => 0, eval: async () => 0 } as never
    const without = Fastify()
    await without.register(suite, { redis: client })
    await without.close()
    const app = Fastify()
    t.match(await rejection((async () => app.register(suite, { redis: client, tasks: { tasks: defineTasks({ work: { handler () {} } }) } }))()), { code: 'FC_ERR_OPTION_INVALID', message: /tasks\.redis/ })
    await app.close()
    for (const redis of ['localhost:6379', 'http://localhost', 7, true]) {
      const app = Fastify()
      t.match(await rejection((async () => app.register(suite, { redis: redis as never, tasks: { tasks: defineTasks({ work: { handler () {} } }) } }))()), { code: 'FC_ERR_OPTION_INVALID' }, String(redis))
      await app.close()
    }
  })

  t.test('options: what is not valid is refused at boot, by name', async (t) => {
    const definitions = defineTasks({ work: { handler () {} } })
    for (const [option, value] of Object.entries({ redis: {}, prefix: 'a{b}', storeTimeout: 0, maxStored: 0, consume: 'work', lockDuration: 10, keep: { completed: -1 } })) {
      const app = Fastify()
      t.match(await rejection((async () => app.register(tasks, { tasks: definitions, redis: server.client(), [option]: value } as never))()), { code: 'FC_ERR_OPTION_INVALID', message: new RegExp(`tasks\\.${option}`) }, option)
      await app.close()
    }
    const app = Fastify()
    t.match(await rejection((async () => app.register(tasks, { tasks: definitions, redis: server.client(), consume: ['walk'] }))()), { code: 'FC_ERR_OPTION_INVALID', message: /tasks\.consume.*work.*walk/ })
    await app.close()
  })

  t.test('settings of Redis with which tasks can be lost are warned of at boot', async (t) => {
    const evicting = await startRedis(t, { args: ['--maxmemory-policy', 'allkeys-lru'] })
    const { lines, logger } = logLines()
    await build(t, evicting, { tasks: defineTasks({ work: { handler () {} } }) }, { logger })
    const warnings = lines.filter(({ level }) => level === 40).map(({ msg }) => msg)
    t.match(warnings, [/maxmemory-policy is allkeys-lru.*noeviction/, /appendonly is off: all tasks are lost/])
    const safe = await startRedis(t, { persists: true })
    const { lines: none, logger: quiet } = logLines()
    await build(t, safe, { tasks: defineTasks({ work: { handler () {} } }) }, { logger: quiet })
    t.same(none.filter(({ level }) => level >= 40), [])
  })

  t.test('a URL: the suite opens the connection for limits and tasks, and closes it', async (t) => {
    const withPort = await startRedis(t, { tcp: true })
    const app = Fastify()
    const ran = deferred<unknown>()
    await app.register(suite, {
      redis: `redis://127.0.0.1:${withPort.port}`,
      limiter: { policies: { all: { rate: 1, burst: 1 } } },
      tasks: { prefix: 'url', tasks: defineTasks({ work: { handler: (n: number) => { ran.resolve(n) } } }) }
    })
    app.get('/', async () => 'ok')
    await app.ready()
    t.equal((await app.inject('/')).statusCode, 200)
    await enqueueOf(app as unknown as FastifyInstance)('work', 7)
    t.equal(await ran.promise, 7)
    const client = new Redis(withPort.path)
    const keys = await client.keys('*')
    t.ok(keys.some((key) => key.startsWith('{fastify-concurrency:limiter}')), 'limits are shared')
    t.ok(keys.some((key) => key.startsWith('url:tasks:{work}:')), 'tasks are stored, under a hash tag')
    await app.close()
    await eventually(async () => /connected_clients:1\b/.test(await client.info('clients')), 'the connections are closed')
    client.disconnect()
  })
})

t.test('Redis is away at boot: the service boots, enqueue() is refused at once, and all is well when Redis comes', { skip }, async (t) => {
  const server = await startRedis(t)
  const client = server.client()
  await server.kill()
  const { lines, logger } = logLines()
  const app = await build(t, server, { redis: client, tasks: defineTasks({ work: { handler: (n: number) => n } }) }, { logger })
  t.match(await rejection(enqueueOf(app)('work', 1)), { code: 'FC_ERR_TASK_STORE', message: /^Redis can't be reached, so no task was stored or changed$/, statusCode: 503, mayBeStored: false, headers: { 'retry-after': '1' } })
  t.match(await rejection(app.tasks.queues()), { code: 'FC_ERR_TASK_STORE' })
  t.match(await rejection(app.tasks.cancel('work:1')), { code: 'FC_ERR_TASK_STORE' })
  t.ok(lines.some(({ msg, level }) => level === 50 && msg.includes('Redis is away')))
  await server.start()
  await until(() => lines.some(({ msg }) => msg.includes('Redis is back')), 'it is back')
  t.equal(await (await enqueueOf(app)('work', 1)).done, 1)
})

t.test('Redis hangs: who was waiting is told that the task may be stored, and who comes later is refused at once', { skip }, async (t) => {
  const server = await startRedis(t)
  const ran: number[] = []
  const app = await build(t, server, { storeTimeout: 200, tasks: defineTasks({ work: { handler: (n: number) => { ran.push(n) } } }) })
  await enqueueOf(app)('work', 1)
  server.signal('SIGSTOP')
  t.match(await rejection(enqueueOf(app)('work', 2)), { code: 'FC_ERR_TASK_STORE', message: /has not confirmed that it has stored/, mayBeStored: true })
  t.match(await rejection(enqueueOf(app)('work', 3)), { code: 'FC_ERR_TASK_STORE', mayBeStored: false, cause: { message: /earlier command/ } }, 'it did not wait')
  server.signal('SIGCONT')
  await until(() => ran.includes(2), 'what may be stored was stored')
  await eventually(async () => (await enqueueOf(app)('work', 4).then(() => true, () => false)), 'tasks are accepted again')
  await until(() => ran.includes(4), 'and run')
  t.notOk(ran.includes(3))
})

t.test('Redis is away for good: the app closes all the same', { skip }, async (t) => {
  const server = await startRedis(t)
  const app = Fastify()
  await app.register(tasks, { redis: server.client(), tasks: defineTasks({ work: { handler: (n: number) => n } }) })
  await app.ready()
  await enqueueOf(app as unknown as FastifyInstance)('work', 1)
  await server.kill()
  const before = performance.now()
  await app.close()
  t.ok(performance.now() - before < 5_000)
})

t.test('boot checks', async (t) => {
  t.same(findings('maxmemory_policy:noeviction\r\naof_enabled:1\r\n', ''), [])
  t.match(findings('maxmemory_policy:volatile-lru\r\naof_enabled:0\r\n', '3600 1'), [/volatile-lru/, /since its last snapshot/])
  t.match(findings('aof_enabled:0', undefined), [/since its last snapshot/])
  t.same(findings('', undefined), [], 'a service that tells nothing')
})

t.test('the options of a call, its request and its trace are stored where they differ from the definition\'s, and read back', async (t) => {
  const defaults = defaultTaskOptions
  const payload = { n: 1 }
  const roundTrip = (options: TaskOptions): TaskOptions => {
    const data = JSON.parse(JSON.stringify(toStored({ payload, options }, defaults))) as StoredTask
    return toOptions(data, toRetryOptions(options).attempts, defaults)
  }
  for (const options of [defaults, { ...defaults, timeout: 7 }, { ...defaults, timeout: Infinity }, { ...defaults, retries: 3 }, { ...defaults, backoff: { base: 1, max: 30_000 } }, { ...defaults, backoff: { base: 500, max: 2 } }]) {
    t.same(roundTrip(options), options)
  }
  t.same(toStored({ payload, options: defaults, id: 'work:x', isIdChosen: true, reqId: 'r', carrier: { traceparent: 't' } }, defaults), { id: 'work:x', payload, reqId: 'r', carrier: { traceparent: 't' } })
})

t.test('an error is known again by its name, code, message and stack', async (t) => {
  class PaymentError extends Error { override name = 'PaymentError' }
  for (const error of [
    new Error('a: b [c]\nsecond line'), new RangeError(''), new PaymentError('declined'),
    Object.assign(new Error('no such host'), { code: 'ENOTFOUND' }), Object.assign(new Error('x'), { code: 7 })
  ]) {
    const { message, stack } = new Failure(error, -1)
    const copy = toError(message, stack, 'work:x') as Error & { code?: unknown }
    const { code } = error as { code?: unknown }
    t.same([copy.name, copy.message, copy.code], [error.name, error.message, typeof code === 'string' ? code : undefined])
    t.match(copy.stack, /engine\.test/)
  }
  const aborted = new Failure(new TaskAbortedError('work:x', 'cancel() was called'), -1)
  const revived = toError(aborted.message, aborted.stack, 'work:x')
  t.ok(revived instanceof TaskAbortedError, 'an error of the suite has its class')
  t.match(revived, { id: 'work:x', message: 'A task was aborted: cancel() was called' })
  const hostile = new Error('x')
  Object.defineProperty(hostile, 'stack', { value: 7 })
  Object.defineProperty(hostile, 'message', { get () { throw new Error('never') } })
  t.doesNotThrow(() => new Failure(hostile, 0))
  t.equal(toError('lost', undefined, 'work:x').message, 'lost')
})
