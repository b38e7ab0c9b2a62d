// Stored tasks on Redis as it runs in production: in a cluster, behind TLS, passwords and access lists, and on Valkey.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import { Cluster, Redis, type Command } from 'ioredis'
import suite from '../../../plugins/index.ts'
import { defineTasks, type TasksOptions } from '../../../plugins/tasks/index.ts'
import { deferred, logLines, rejection, until } from '../../helper.ts'
import { noRedis, startRedis } from '../../limiter/redis.ts'
import { engineContract } from '../named/engine-contract.ts'
import { build, callsOf, enqueueOf } from './helper.ts'
import { eventually, recorded, startProcess } from './processes.ts'
import { encrypt, startCluster, type RedisCluster } from './servers.ts'

const skip = await noRedis()
const noValkey = await noRedis('valkey-server')
t.setTimeout(120_000)

const echo = defineTasks({ work: { handler: (n: number) => n } })

/** An app with the whole suite, ready, closed with the test. */
async function buildSuite (t: Test, options: Parameters<typeof suite>[1], fastify: object = {}): Promise<FastifyInstance> {
  const app = Fastify(fastify) as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(suite, options)
  app.get('/', async () => 'ok')
  await app.ready()
  return app
}

/** An app on a cluster. On a busy machine, its connections may be ready later than the app. */
async function buildOn (t: Test, cluster: { client (): Cluster }, options: TasksOptions): Promise<FastifyInstance> {
  const app = await build(t, cluster, options)
  await eventually(async () => await app.tasks.queues().then(() => true, () => false), 'it is connected')
  return app
}

/** Names of tasks of which no two lie on the same node. */
async function namesApart ({ nodes, nodeOf }: RedisCluster): Promise<string[]> {
  const names = new Map<unknown, string>()
  for (let n = 0; names.size < nodes.length; n++) names.set(await nodeOf(`task${n}`), `task${n}`)
  return [...names.values()]
}

t.test('on a cluster of three masters', { skip }, async (t) => {
  const cluster = await startCluster(t)

  engineContract(t, { name: 'BullMQ on a cluster', build: async (t, options) => buildOn(t, cluster, options) })

  t.test('each node has the tasks of some names; schedules, counts and limits work across them', async (t) => {
    const names = await namesApart(cluster)
    const ran = new Set<string>()
    // No test of timeouts: a busy machine opens the connections to three nodes late.
    const patient = { prefix: 'apart', storeTimeout: 10_000 }
    const tasks: TasksOptions = { ...patient, tasks: defineTasks(Object.fromEntries(names.map((name) => [name, { handler: () => { ran.add(name) } }]))) }
    const limiter = { ...patient, policies: { all: { rate: 1, per: 'hour', burst: 2 } } } as const
    const [web, other] = [
      await buildSuite(t, { redis: cluster.client(), limiter, tasks: { ...tasks, consume: false } }),
      await buildSuite(t, { redis: cluster.client(), limiter, tasks: { ...tasks, consume: false } })
    ]
    for (const app of [web, other]) await eventually(async () => await app.tasks.queues().then(() => true, () => false), 'it is connected')
    for (const name of names) await enqueueOf(web)(name)
    t.match(await other.tasks.queues(), names.map((name) => ({ name, waiting: 1 })))
    for (const name of names) {
      const node = await cluster.nodeOf(name)
      t.ok((await node.client().keys(`apart:tasks:{${name}}:*`)).length > 0, name)
    }
    t.same([await web.inject('/'), await other.inject('/'), await web.inject('/')].map(({ statusCode }) => statusCode), [200, 200, 429])
    const worker = await buildSuite(t, { redis: cluster.client(), tasks })
    await until(() => ran.size === names.length, 'all have run', 30_000)
    ran.clear()
    for (const name of names) await callsOf(web).schedule(name, { every: 1_000 })
    await until(() => ran.size === names.length, 'all schedules have run', 30_000)
    for (const name of names) t.equal(await callsOf(worker).unschedule(name), true)
  })

  t.test('what an application has set for its own use of the cluster changes nothing for tasks', async (t) => {
    const reads: string[] = []
    const client = cluster.client({ lazyConnect: true, enableOfflineQueue: false, scaleReads: ([node]: Redis[], { name }: Command) => { reads.push(name); return node as Redis } })
    const app = await buildOn(t, { client: () => client }, { tasks: echo })
    t.equal(await (await enqueueOf(app)('work', 7)).done, 7)
    t.same(reads, [], 'a replica may not know yet what was just written')
    t.equal(client.status, 'wait', 'the client itself is not used')
  })

  t.test('a node ends: tasks of its names are refused within the bound until it is back, and others are accepted', async (t) => {
    const [here = '', away = ''] = await namesApart(cluster)
    const done = new Set<number>()
    const tasks = defineTasks({ [here]: { handler: (n: number) => { done.add(n) } }, [away]: { handler: (n: number) => { done.add(n) } } })
    // The node may end after it has given a task away: the task runs again when its lock has expired.
    const app = await buildOn(t, cluster, { storeTimeout: 500, lockDuration: 5_000, tasks })
    const accepted: number[] = []
    const enqueue = async (name: string, n: number): Promise<string> => {
      const before = performance.now()
      const code = await enqueueOf(app)(name, n).then(() => { accepted.push(n); return 'accepted' }, (error: { code: string }) => error.code)
      t.ok(performance.now() - before < 4_000, `${name}: ${code} after ${Math.round(performance.now() - before)} ms`)
      return code
    }
    t.equal(await enqueue(away, 1), 'accepted')
    const node = await cluster.nodeOf(away)
    await node.kill()
    t.equal(await enqueue(away, 2), 'FC_ERR_TASK_STORE')
    await eventually(async () => await enqueue(here, 3) === 'accepted', 'other names are accepted')
    await node.start()
    await eventually(async () => await enqueue(away, 4) === 'accepted', 'its names are accepted again')
    await until(() => accepted.every((n) => done.has(n)), 'all that was accepted has run', 30_000)
  })
})

t.test('TLS', { skip }, async (t) => {
  const server = await startRedis(t)
  const encrypted = await encrypt(t, server)
  if (typeof encrypted === 'string') {
    t.pass(encrypted, { skip: encrypted })
    return
  }
  const { port, path, certificate } = encrypted

  t.test('a client with the certificate', async (t) => {
    const redis = new Redis({ host: 'localhost', port, tls: { ca: certificate } })
    t.teardown(() => redis.disconnect())
    const app = await buildSuite(t, { redis, limiter: { policies: { all: { rate: 1, per: 'hour', burst: 1 } } }, tasks: { prefix: randomUUID(), tasks: echo } })
    t.equal(await (await enqueueOf(app)('work', 7)).done, 7)
    t.same([await app.inject('/'), await app.inject('/')].map(({ statusCode }) => statusCode), [200, 429])
  })

  t.test('a URL, in a process that trusts the certificate by NODE_EXTRA_CA_CERTS', async (t) => {
    const process = await startProcess(t, { path: `rediss://localhost:${port}` }, { NODE_EXTRA_CA_CERTS: path })
    t.same(await process.ask({ do: 'enqueue', task: 'effect', payload: { n: 1, ms: 0 } }), { codes: { accepted: 1 } })
    await eventually(async () => (await recorded(server.client(), 'effects')).has('1'), 'it has run')
    t.equal(await process.terminate(), 0)
  })

  t.test('a certificate that is not trusted: the service boots, refuses tasks, and says why', async (t) => {
    const { lines, logger } = logLines()
    const app = await buildSuite(t, { redis: `rediss://localhost:${port}`, tasks: { tasks: echo } }, { logger })
    t.match(await rejection(enqueueOf(app)('work', 1)), { code: 'FC_ERR_TASK_STORE', mayBeStored: false, cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' } })
    t.match(lines.find(({ level }) => level === 50), { msg: /Redis is away/, err: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' } })
  })
})

t.test('passwords and databases', { skip }, async (t) => {
  const server = await startRedis(t, { tcp: true })
  const admin = server.client()
  const secret = 'p@ss:/wörd'
  await admin.config('SET', 'requirepass', secret)
  const url = (password: string, database = ''): string => `redis://:${encodeURIComponent(password)}@127.0.0.1:${server.port}/${database}`

  t.test('a client with the password', async (t) => {
    const app = await build(t, { client: () => server.client({ password: secret }) }, { tasks: echo })
    t.equal(await (await enqueueOf(app)('work', 7)).done, 7)
  })

  t.test('a URL with the password and a database: limits and tasks are in that database', async (t) => {
    const app = await buildSuite(t, { redis: url(secret, '3'), limiter: { policies: { all: { rate: 1, burst: 1 } } }, tasks: { tasks: echo } })
    t.equal(await (await enqueueOf(app)('work', 7)).done, 7)
    t.equal((await app.inject('/')).statusCode, 200)
    const third = server.client({ password: secret, db: 3 })
    const keys = await third.keys('*')
    t.ok(keys.some((key) => key.startsWith('{fastify-concurrency:limiter}')))
    t.ok(keys.some((key) => key.startsWith('fastify-concurrency:tasks:{work}:')))
    t.same((await admin.keys('*')).filter((key) => key.startsWith('fastify-concurrency')), [])
  })

  t.test('a wrong password: the service boots, refuses tasks, and says why', async (t) => {
    for (const [password, reason] of [['wrong', /^WRONGPASS/], ['', /^NOAUTH/]] as const) {
      const { lines, logger } = logLines()
      const app = await buildSuite(t, { redis: url(password), tasks: { tasks: echo } }, { logger })
      t.match(await rejection(enqueueOf(app)('work', 1)), { code: 'FC_ERR_TASK_STORE', message: /has refused/, failure: reason.source.slice(1), mayBeStored: false, cause: { message: reason } })
      t.match(lines.find(({ level }) => level === 50), { msg: /Redis is away/, err: { message: reason } })
    }
  })

  t.test('a user whose rights are those of the docs', async (t) => {
    await admin.call('ACL', 'SETUSER', 'app', 'on', '>pass', '~app:*', '~{app:limiter}:*', '&app:*', '+@all', '-@dangerous', '-@admin', '+info')
    const ended = deferred()
    const redis = `redis://app:pass@127.0.0.1:${server.port}`
    const app = await buildSuite(t, {
      redis,
      limiter: { prefix: 'app', policies: { all: { rate: 1, burst: 1, onStoreError: 'closed' } } },
      tasks: { prefix: 'app', tasks: defineTasks({ work: { handler: (n: number, { signal }) => n > 0 ? n : new Promise((_resolve, reject) => { signal.onabort = () => reject(signal.reason as Error); ended.resolve() }) } }) }
    })
    t.equal(await (await enqueueOf(app)('work', 7)).done, 7)
    t.equal((await app.inject('/')).statusCode, 200)
    const { done, id } = await enqueueOf(app)('work', 0)
    const outcome = rejection(done)
    await ended.promise
    t.equal(await app.tasks.cancel(id), true)
    t.match(await outcome, { code: 'FC_ERR_TASK_ABORTED' })
    await callsOf(app).schedule('work', { every: 60_000 }, 1)
    t.match(await app.tasks.queues(), [{ name: 'work' }])
    t.equal(await callsOf(app).unschedule('work'), true)
  })

  t.test('a user who may not: calls are refused with what Redis says', async (t) => {
    await admin.call('ACL', 'SETUSER', 'other', 'on', '>pass', '~other:*', '&*', '+@all')
    const app = await build(t, { client: () => server.client({ username: 'other', password: 'pass' }) }, { consume: false, prefix: 'app', tasks: echo })
    t.match(await rejection(enqueueOf(app)('work', 1)), { code: 'FC_ERR_TASK_STORE', id: /^work:/, message: /has refused the task$/, failure: 'NOPERM', mayBeStored: false, cause: { message: /NOPERM/ } })
  })
})

t.test('a client with a keyPrefix is refused at boot: BullMQ\'s scripts make keys that ioredis would not prefix', { skip }, async (t) => {
  const server = await startRedis(t)
  const lazily = { lazyConnect: true }
  const clusters = [new Cluster([], { ...lazily, keyPrefix: 'mine:' }), new Cluster([], { ...lazily, redisOptions: { keyPrefix: 'mine:' } })]
  for (const redis of [server.client({ keyPrefix: 'mine:' }), ...clusters]) {
    const app = Fastify()
    t.match(await rejection((async () => app.register(suite, { redis, tasks: { tasks: echo } }))()), { code: 'FC_ERR_OPTION_INVALID', message: /tasks\.redis.*keyPrefix.*tasks\.prefix/ })
    await app.close()
  }
})

t.test('on Valkey', { skip: noValkey }, async (t) => {
  const server = await startRedis(t, { binary: 'valkey-server' })
  engineContract(t, { name: 'BullMQ on Valkey', build: async (t, options) => build(t, server, options) })
})
