// What befalls stored tasks that nobody plans for: a Redis that is full, has become a replica or has lost its data, jobs that others have
// written, and processes of two versions.
import t, { type Test } from 'tap'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import Fastify, { type FastifyInstance } from 'fastify'
import suite from '../../../plugins/index.ts'
import { defineTasks } from '../../../plugins/tasks/index.ts'
import { deferred, logLines, rejection, until } from '../../helper.ts'
import { noRedis, startRedis, type RedisServer } from '../../limiter/redis.ts'
import { build, callsOf, enqueueOf } from './helper.ts'
import { eventually, recorded, startProcess } from './processes.ts'

const skip = await noRedis()
t.setTimeout(120_000)

const codeOf = async (promise: Promise<unknown>): Promise<string> => promise.then(() => 'accepted', ({ code }: { code: string }) => code)

t.test('Redis is full: enqueue() is refused fast, what was accepted runs, and all is well when there is memory again', { skip }, async (t) => {
  const server = await startRedis(t)
  const admin = server.client()
  const [go, began] = [deferred(), deferred()]
  const done: number[] = []
  const tasks = defineTasks({ work: { handler: async ({ n }: { n: number }) => { began.resolve(); await go.promise; done.push(n) } } })
  const app = await build(t, server, { concurrency: 1, tasks })
  const enqueue = enqueueOf(app)
  await enqueue('work', { n: 1 })
  await began.promise
  await admin.config('SET', 'maxmemory', '1')
  const before = performance.now()
  const error = await rejection(enqueue('work', { n: 2 }))
  t.match(error, { code: 'FC_ERR_TASK_STORE', statusCode: 503, mayBeStored: false, cause: { message: /OOM/ } })
  t.ok(performance.now() - before < 4_000)
  t.match(await app.tasks.queues(), [{ running: 1 }], 'reading goes on')
  go.resolve()
  await until(() => done.length === 1, 'what runs is finished')
  await eventually(async () => (await app.tasks.queues())[0]?.running === 0, 'and written down')
  await admin.config('SET', 'maxmemory', '0')
  await eventually(async () => await codeOf(enqueue('work', { n: 3 })) === 'accepted', 'tasks are accepted again')
  await until(() => done.length === 2, 'and run')
  t.same(done, [1, 3])
})

interface Address {
  port: number
  /** Leads new connections to another server, as the name of a managed Redis does after a failover. */
  lead (to: RedisServer): void
  /** Lets nothing more through the connections that there are, and ends none. */
  silence (): void
}

/** What lies between a process and its Redis. */
async function address (t: Test, first: RedisServer): Promise<Address> {
  let target = first
  const sockets = new Set<Socket>()
  const proxy = createServer((socket) => {
    const upstream = connect(target.path)
    for (const each of [socket, upstream]) {
      sockets.add(each)
      each.on('error', () => {})
    }
    socket.pipe(upstream).pipe(socket)
    socket.on('close', () => upstream.destroy())
    upstream.on('close', () => socket.destroy())
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    proxy.close()
    for (const socket of sockets) socket.destroy()
  })
  return {
    port: (proxy.address() as AddressInfo).port,
    lead: (to) => { target = to },
    silence: () => { for (const socket of sockets) socket.unpipe().pause() }
  }
}

t.test('a failover: the master becomes a replica, and connections to it are opened anew', { skip }, async (t) => {
  const [old, next] = [await startRedis(t, { tcp: true, args: ['--repl-diskless-sync-delay', '0'] }), await startRedis(t, { tcp: true })]
  const [oldAdmin, nextAdmin] = [old.client(), next.client()]
  await nextAdmin.replicaof('127.0.0.1', old.port)
  const { port, lead } = await address(t, old)
  const redis = new Redis(port)
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  const ran: number[] = []
  const app = await build(t, { client: () => redis }, { tasks: defineTasks({ work: { handler: (n: number) => { ran.push(n) } } }) })
  await enqueueOf(app)('work', 1)
  await until(() => ran.includes(1), 'it runs')
  await eventually(async () => /master_link_status:up/.test(await nextAdmin.info('replication')), 'the replica follows')
  await nextAdmin.replicaof('NO', 'ONE')
  await oldAdmin.replicaof('127.0.0.1', next.port)
  lead(next)
  t.match(await rejection(enqueueOf(app)('work', 2)), { code: 'FC_ERR_TASK_STORE', mayBeStored: false, cause: { message: /^READONLY/ } })
  await eventually(async () => await codeOf(enqueueOf(app)('work', 3)) === 'accepted', 'tasks are accepted again')
  await until(() => ran.includes(3), 'it runs')
})

t.test('a network that has dropped connections without a word: they are opened anew', { skip }, async (t) => {
  const { port, silence } = await address(t, await startRedis(t))
  const redis = new Redis(port)
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  const ran: number[] = []
  const app = await build(t, { client: () => redis }, { storeTimeout: 500, tasks: defineTasks({ work: { handler: (n: number) => { ran.push(n) } } }) })
  await enqueueOf(app)('work', 1)
  await until(() => ran.includes(1), 'it runs')
  silence()
  t.match(await rejection(enqueueOf(app)('work', 2)), { code: 'FC_ERR_TASK_STORE', mayBeStored: true })
  await eventually(async () => await codeOf(enqueueOf(app)('work', 3)) === 'accepted', 'tasks are accepted again')
  await until(() => ran.includes(3), 'it runs', 60_000)
})

t.test('Redis comes back without its data: tasks run again, and who waits for a lost task is told', { skip }, async (t) => {
  const server = await startRedis(t)
  const { lines, logger } = logLines()
  const began = deferred()
  const tasks = defineTasks({ work: { handler: (n: number) => { began.resolve(); return n } }, other: { handler () {} } })
  const prefix = randomUUID()
  const app = await build(t, server, { prefix, tasks }, { logger })
  await callsOf(app).schedule('other', { every: 60_000 }, undefined, { id: 'x' })
  const lost = await enqueueOf(app)('work', 1, { delay: 60_000, id: 'x' })
  const outcome = rejection(lost.done)
  await eventually(async () => (await app.tasks.queues())[0]?.delayed === 1, 'it is stored')
  // The handle listens.
  t.equal(await (await enqueueOf(app)('work', 2)).done, 2)
  await server.kill()
  await server.start()
  await until(() => lines.some(({ msg }) => msg.includes('Redis is back')), 'Redis is back')
  t.match(await outcome, { code: 'FC_ERR_TASK_ABORTED' })
  t.equal(await (await enqueueOf(app)('work', 3, { id: 'x' })).done, 3, 'its id is free')
  t.equal(await callsOf(app).unschedule('other', { id: 'x' }), false, 'schedules are lost with the data')
})

t.test('the data of Redis are deleted while it runs: who waits for a task is told', { skip }, async (t) => {
  const server = await startRedis(t)
  const app = await build(t, server, { tasks: defineTasks({ work: { handler (n: number) { return n } } }) })
  const lost = await enqueueOf(app)('work', 1, { delay: 60_000 })
  const outcome = rejection(lost.done)
  t.equal(await (await enqueueOf(app)('work', 2)).done, 2)
  await server.client().flushall()
  t.match(await outcome, { code: 'FC_ERR_TASK_ABORTED' })
})

t.test('Redis is frozen while the application closes: who waits for a task is told when it has closed', { skip }, async (t) => {
  const server = await startRedis(t)
  for (const isFollowed of [true, false]) {
    for (const consume of [true, false]) {
      const [began, go] = [deferred(), deferred()]
      const app = Fastify() as unknown as FastifyInstance
      await app.register(suite, {
        redis: server.client(),
        lifecycle: { timeout: 500, grace: 200 },
        tasks: { prefix: randomUUID(), consume, storeTimeout: 60_000, grace: 50, tasks: defineTasks({ work: { handler: async () => { began.resolve(); await go.promise } } }) }
      })
      await app.ready()
      const handle = await enqueueOf(app)('work')
      if (consume) await began.promise
      const codes: string[] = []
      if (isFollowed) void codeOf(handle.done).then((code) => codes.push(code))
      server.signal('SIGSTOP')
      if (!isFollowed) void codeOf(handle.done).then((code) => codes.push(code))
      await app.lifecycle.shutdown('test')
      await new Promise((resolve) => { setImmediate(resolve) })
      t.same(codes, ['FC_ERR_CLOSING'], `a process that ${consume ? 'runs it' : 'has enqueued it'}`)
      go.resolve()
      server.signal('SIGCONT')
    }
  }
})

for (const what of ['a task that ignores its signal', 'a caller of enqueue()', 'a handle that is followed']) {
  t.test(`Redis is frozen in a shutdown: it ends within timeout + grace, and no hook of the application is blamed; ${what}`, { skip }, async (t) => {
    const server = await startRedis(t)
    const [began, go] = [deferred(), deferred()]
    const app = Fastify() as unknown as FastifyInstance
    await app.register(suite, {
      redis: server.client(),
      lifecycle: { timeout: 300, grace: 1_200 },
      tasks: { prefix: randomUUID(), storeTimeout: 60_000, tasks: defineTasks({ work: { handler: async () => { began.resolve(); await go.promise } } }) }
    })
    const asked = deferred()
    app.get('/', async () => {
      asked.resolve()
      return enqueueOf(app)('work')
    })
    await app.ready()
    if (what.startsWith('a task')) {
      await enqueueOf(app)('work')
      await began.promise
    }
    const followed = what.startsWith('a handle') ? codeOf((await enqueueOf(app)('work', 1, { delay: 60_000 })).done) : undefined
    server.signal('SIGSTOP')
    const answer = what.startsWith('a caller') ? rejection(app.inject('/')) : undefined
    if (answer !== undefined) await asked.promise
    const since = performance.now()
    const { unfinished } = await app.lifecycle.shutdown()
    const took = performance.now() - since
    // A followed handle alone held the close for 1.5 s; the others took up to 4.2 s.
    t.ok(took < (followed === undefined ? 2_000 : 1_000), `${took} ms`)
    t.same(unfinished.map(({ kind }) => kind), what.startsWith('a task') ? ['task'] : what.startsWith('a caller') ? ['request'] : [])
    t.equal(await followed, followed === undefined ? undefined : 'FC_ERR_CLOSING')
    await answer
    go.resolve()
    server.signal('SIGCONT')
  })
}

t.test('a task whose name the worker does not know waits until a process knows it', { skip }, async (t) => {
  const server = await startRedis(t)
  const prefix = randomUUID()
  const ran: string[] = []
  const task = { handler: (who: string) => { ran.push(who) } }
  const old = await build(t, server, { prefix, tasks: defineTasks({ work: task }) })
  const next = await build(t, server, { prefix, consume: false, tasks: defineTasks({ work: task, fresh: task }) })
  await enqueueOf(next)('fresh', 'fresh')
  await enqueueOf(next)('work', 'work')
  await until(() => ran.length === 1, 'the old process runs what it knows')
  await old.close()
  t.match(await next.tasks.queues(), [{ name: 'work', waiting: 0 }, { name: 'fresh', waiting: 1, failed: 0 }])
  await build(t, server, { prefix, tasks: defineTasks({ work: task, fresh: task }) })
  await until(() => ran.length === 2, 'it runs')
  t.same(ran, ['work', 'fresh'])
})

t.test('jobs that others have written to a queue fail, and are kept with their errors; tasks go on', { skip }, async (t) => {
  const server = await startRedis(t)
  const prefix = randomUUID()
  const seen: unknown[] = []
  const app = await build(t, server, { prefix, lockDuration: 1_000, tasks: defineTasks({ work: { handler: (payload: unknown) => { seen.push(payload) } } }) })
  const queue = new Queue('{work}', { prefix: `${prefix}:tasks`, connection: server.client({ maxRetriesPerRequest: null }) as never })
  t.teardown(async () => queue.close())
  for (const data of [null, 7, 'text', []]) await queue.add('work', data)
  await queue.add('unknown', {})
  await queue.add('constructor', {})
  await eventually(async () => { const [counts] = await app.tasks.queues(); return counts?.waiting === 0 && counts.running === 0 }, 'none waits or runs')
  const failed = await queue.getFailed()
  t.ok(failed.every(({ failedReason, name }) => name === 'work' || /There is no task named/.test(failedReason)))
  t.match(failed.map(({ name }) => name).filter((name) => name !== 'work').sort(), ['constructor', 'unknown'])
  await (await enqueueOf(app)('work', 1)).done
  t.ok(seen.includes(1))
})

t.test('processes whose clocks differ by an hour share the work: locks go by the clock of Redis', { skip }, async (t) => {
  const server = await startRedis(t)
  const redis = server.client()
  const ahead = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent('const { now } = Date; Date.now = () => now() + 3_600_000')}` }
  const processes = await Promise.all([startProcess(t, { path: server.path, lockDuration: 1_000 }), startProcess(t, { path: server.path, lockDuration: 1_000 }, ahead)])
  // Longer than a lock: a process that took the other's tasks for stalled would run them again.
  for (const [n, process] of processes.entries()) await process.ask({ do: 'enqueue', task: 'effect', payload: { n, ms: 1_800 }, times: 64 })
  await eventually(async () => [...(await recorded(redis, 'effects')).values()].flat().length >= 128, 'all have run')
  const begun = await recorded(redis, 'begun')
  t.equal([...begun.values()].flat().length, 128, 'each has run once')
  for (const { pid } of processes) t.ok([...begun.values()].flat().includes(String(pid)), 'each process has worked')
  // The delay is counted by the clock of the process that enqueued the task.
  await processes[0]?.ask({ do: 'enqueue', task: 'effect', payload: { n: 'early', ms: 0 }, options: { delay: 600_000 } })
  await eventually(async () => (await recorded(redis, 'effects')).has('early'), 'a process whose clock is ahead runs a delayed task early')
})

t.test('payloads of 1 MB and of 10 MB are stored and run', { skip }, async (t) => {
  const server = await startRedis(t)
  const app = await build(t, server, { storeTimeout: 30_000, tasks: defineTasks({ work: { handler: ({ text }: { text: string }) => text.length } }) })
  for (const size of [1e6, 10e6]) t.equal(await (await enqueueOf(app)('work', { text: 'ä'.repeat(size / 2) })).done, size / 2)
})
