// The port for operators: what it answers, and until when.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import concurrency, { type ConcurrencyOptions } from '../../plugins/index.ts'
import { defineTasks } from '../../plugins/tasks/index.ts'
import { deferred, logLines, rejection, until } from '../helper.ts'
import { noRedis, startRedis } from '../limiter/redis.ts'
import { eventually } from '../tasks/bullmq/processes.ts'

async function build (t: Test, options: ConcurrencyOptions, fastify: object = {}): Promise<FastifyInstance> {
  const app = Fastify(fastify) as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(concurrency, { operate: { port: 0 }, ...options })
  return app
}

const ask = async (app: FastifyInstance, path: string, init?: RequestInit): Promise<Response> =>
  await fetch(`http://localhost:${app.operate.port}${path}`, init)

t.test('a service answers probes and metrics on the port for operators, and not on its own', async (t) => {
  const { lines, logger } = logLines()
  const app = await build(t, {}, { logger })
  t.equal(app.operate.port, undefined)
  await app.listen({ port: 0 })
  t.same(await (await ask(app, '/live')).json(), { status: 'live' })
  t.same(await (await ask(app, '/ready?from=probe')).json(), { status: 'ready' })
  const metrics = await ask(app, '/metrics')
  t.match(metrics.headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
  t.match(await metrics.text(), /fastify_concurrency_phase\{phase="serving"\} 1\n/)
  for (const path of ['/live', '/ready', '/metrics']) t.equal((await app.inject(path)).statusCode, 404, path)
  t.equal(await (await ask(app, '/live', { method: 'HEAD' })).text(), '')
  t.equal((await ask(app, '/live', { method: 'POST' })).status, 405)
  const other = await ask(app, '/other')
  t.equal(other.status, 404)
  t.match(await other.json(), { message: 'This port answers GET of /live, /ready, /metrics' })
  t.match(lines.find(({ msg }) => msg.startsWith('operate:')), { url: /^http:\/\/.+:\d+$/ })
})

t.test('routes at paths of the application stay where they were asked for', async (t) => {
  const app = await build(t, { lifecycle: { readyPath: '/healthz' }, metrics: { path: '/scrape' } })
  await app.ready()
  for (const path of ['/healthz', '/scrape']) t.equal((await app.inject(path)).statusCode, 200, path)
  for (const path of ['/ready', '/metrics']) t.equal((await ask(app, path)).status, 200, path)
})

t.test('checks of readiness are asked by this port, too', async (t) => {
  let isThere = true
  const app = await build(t, { lifecycle: { ready: [function database () { return isThere }] } })
  await app.ready()
  t.equal((await ask(app, '/ready')).status, 200)
  isThere = false
  await eventually(async () => (await ask(app, '/ready')).status === 503, 'the check has failed')
  t.same(await (await ask(app, '/ready')).json(), { status: 'not ready', failed: [{ name: 'database' }] })
  t.equal((await ask(app, '/live')).status, 200)
})

t.test('a process that consumes stored tasks boots without Redis, is ready once it has reached Redis, and stays ready without', { skip: await noRedis() }, async (t) => {
  const server = await startRedis(t, { tcp: true })
  await server.kill()
  const tasks = defineTasks({ mail: { handler () {} } })
  const redis = `redis://127.0.0.1:${server.port}`
  const [worker, web] = await Promise.all([true, false].map(async (consume) => build(t, { workers: false, redis, tasks: { tasks, consume } }))) as [FastifyInstance, FastifyInstance]
  await Promise.all([worker.ready(), web.ready()])
  const readiness = async (app: FastifyInstance): Promise<unknown> => (await ask(app, '/ready')).json()
  t.same(await readiness(worker), { status: 'not ready', failed: [{ name: 'tasks' }] })
  t.same(await readiness(web), { status: 'ready' }, 'requests are served without Redis')
  await server.start()
  await eventually(async () => (await ask(worker, '/ready')).status === 200, 'the worker has reached Redis')
  await server.kill()
  await eventually(async () => worker.tasks.queues().then(() => false, () => true), 'Redis is away')
  t.same(await readiness(worker), { status: 'ready' })
})

t.test('a worker that does not listen serves no clients, so its shutdown skips the delay', async (t) => {
  const lifecycle = { delay: 20_000, timeout: 25_000 }
  const worker = await build(t, { workers: false, lifecycle })
  await worker.ready()
  const { durationMs } = await worker.lifecycle.shutdown()
  t.ok(durationMs < lifecycle.delay)
  const service = await build(t, { workers: false, lifecycle })
  await service.listen({ port: 0 })
  const shutdown = service.lifecycle.shutdown()
  await until(() => service.lifecycle.phase === 'leaving', 'the delay has begun')
  await service.close()
  await shutdown
})

t.test('the service is not ready while a hook of its boot runs', async (t) => {
  const [asked, go] = [deferred<Response>(), deferred()]
  const app = await build(t, {})
  app.addHook('onReady', async () => {
    asked.resolve(await ask(app, '/ready'))
    await go.promise
  })
  const booted = app.ready()
  const response = await asked.promise
  t.equal(response.status, 503)
  t.same(await response.json(), { status: 'booting' })
  go.resolve()
  await booted
  t.equal((await ask(app, '/ready')).status, 200)
})

t.test('a shutdown is seen to its end: not ready while work drains and hooks close, live, with metrics, and then closed', async (t) => {
  const [go, closing, close] = [deferred(), deferred(), deferred()]
  const app = await build(t, {})
  app.addHook('onClose', async () => {
    closing.resolve()
    await close.promise
  })
  await app.ready()
  app.tasks.submit('work', () => go.promise)
  const shutdown = app.lifecycle.shutdown()
  await until(() => app.lifecycle.phase === 'tasks', 'tasks drain')
  const statuses = async (): Promise<unknown> => Promise.all(['/ready', '/live', '/metrics'].map(async (path) => (await ask(app, path)).status))
  t.same(await statuses(), [503, 200, 200])
  t.match(await (await ask(app, '/metrics')).text(), /fastify_concurrency_phase\{phase="tasks"\} 1\n/)
  go.resolve()
  await closing.promise
  t.same(await statuses(), [503, 200, 200])
  const { port } = app.operate
  close.resolve()
  await shutdown
  t.equal(app.operate.port, undefined)
  t.match(await rejection(fetch(`http://localhost:${port}/live`)), { cause: { code: 'ECONNREFUSED' } })
})

t.test('a connection that says nothing, or a half-sent request, does not hold up the close', async (t) => {
  const app = await build(t, {})
  await app.ready()
  const sockets = ['', 'GET /live HTTP/1.1\r\n'].map((text) => {
    const socket = connect(app.operate.port as number, 'localhost').on('error', () => {})
    socket.write(text)
    return socket
  })
  await Promise.all(sockets.map(async (socket) => once(socket, 'connect')))
  const ends = sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve)))
  await app.close()
  await Promise.all(ends)
})

t.test('a port that is taken fails the boot, and so do options that are wrong', async (t) => {
  const taken = createServer().listen(0, 'localhost')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  const app = await build(t, { operate: { port: (taken.address() as AddressInfo).port } })
  t.match(await rejection((async () => app.ready())()), { code: 'EADDRINUSE' })
  for (const operate of [{}, { port: -1 }, { port: '9090' }, { port: 65_536 }, { port: 0, host: '' }, { prot: 0 }, 9090]) {
    const app = Fastify() as unknown as FastifyInstance
    t.match(await rejection((async () => app.register(concurrency, { operate: operate as never }))()), { code: 'FC_ERR_OPTION_INVALID' }, JSON.stringify(operate))
  }
  const without = Fastify() as unknown as FastifyInstance
  t.match(await rejection((async () => without.register(concurrency, { operate: { port: 0 }, lifecycle: false }))()),
    { code: 'FC_ERR_OPTION_INVALID', message: /lifecycle/ })
})

t.test('without metrics it answers the probes alone, and metrics that throw are a 500 whose cause is in the log', async (t) => {
  const probes = await build(t, { metrics: false })
  await probes.ready()
  t.same(await Promise.all(['/ready', '/live', '/metrics'].map(async (path) => (await ask(probes, path)).status)), [200, 200, 404])
  const { Registry } = await import('prom-client')
  const { lines, logger } = logLines()
  const registry = new Registry()
  registry.metrics = async () => { throw new Error('a secret') }
  const app = await build(t, { metrics: { registry } }, { logger })
  await app.ready()
  const response = await ask(app, '/metrics')
  t.equal(response.status, 500)
  t.notMatch(await response.text(), /secret/)
  t.ok(lines.some(({ msg, err }) => msg.startsWith('operate:') && (err as Error | undefined)?.message === 'a secret'))
})

t.test('a worker that does not listen counts what it runs, and what is stored', { skip: await noRedis() }, async (t) => {
  const server = await startRedis(t)
  const prefix = randomUUID()
  const tasks = defineTasks({ mail: { handler: (fails: boolean) => { if (fails) throw new Error('x') } } })
  const web = await build(t, { redis: server.client(), tasks: { prefix, consume: false, tasks } })
  const worker = await build(t, { redis: server.client(), tasks: { prefix, tasks } })
  await Promise.all([web.ready(), worker.ready()])
  const enqueue = web.tasks.enqueue.bind(web.tasks) as unknown as (name: string, fails: boolean) => Promise<{ done: Promise<void> }>
  await (await enqueue('mail', false)).done
  await rejection((await enqueue('mail', true)).done)
  await worker.tasks.idle()
  const scraped = await (await ask(worker, '/metrics')).text()
  const values = ['tasks_total{task="mail",outcome="completed"} 1', 'tasks_total{task="mail",outcome="failed"} 1', 'stored_tasks{task="mail",state="failed"} 1', 'stored_tasks_oldest_seconds{task="mail"} 0', 'stored_tasks_paused{task="mail"} 0']
  for (const value of values) t.ok(scraped.includes(`fastify_concurrency_${value}\n`), value)
  t.match(await (await ask(web, '/metrics')).text(), /fastify_concurrency_tasks_total\{task="mail",outcome="failed"\} 0\n/, 'the web process has run none')
})
