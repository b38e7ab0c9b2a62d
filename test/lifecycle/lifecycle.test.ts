import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { once } from 'node:events'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import cancellation from '../../plugins/cancellation/index.ts'
import limiter from '../../plugins/limiter/index.ts'
import lifecycle, { type LifecycleOptions } from '../../plugins/lifecycle/index.ts'
import { drainablesOf } from '../../plugins/shared/drainables.ts'
import { assertIdle } from '../../plugins/testing.ts'
import { deferred, fakeDrainable, inFlight, phase } from './fixtures.ts'

const probes = { readyPath: '/ready', livePath: '/live' } as const

async function build (t: Test, options: LifecycleOptions = {}, lines?: string[]): Promise<FastifyInstance> {
  const app = lines === undefined ? Fastify() : Fastify({ logger: { stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(lifecycle, options)
  return app
}

t.test('probes: ready once booted, live throughout, at the paths asked for, and no routes that nobody asked for', async (t) => {
  const app = await build(t, probes)
  t.equal(app.lifecycle.ready, false, 'not before boot has ended')
  await app.ready()
  t.equal(app.lifecycle.ready, true)
  t.same((await app.inject('/ready')).json(), { status: 'ready' })
  t.same((await app.inject('/live')).json(), { status: 'live' })

  const other = await build(t, { readyPath: '/health/ready' })
  t.equal((await other.inject('/health/ready')).statusCode, 200)
  t.equal((await other.inject('/live')).statusCode, 404)
  t.equal((await other.inject('/ready')).statusCode, 404)
})

t.test('phase by phase: what is answered and what is refused', async (t) => {
  const app = await build(t, { ...probes, delay: 300, timeout: 60_000 })
  const tasks = fakeDrainable('tasks', 'tasks')
  const workers = fakeDrainable('workers', 'workers')
  drainablesOf(app).add(workers).add(tasks)
  const entered = deferred()
  const go = deferred()
  app.get('/slow', async () => {
    entered.resolve()
    await go.promise
    tasks.hold('receipt')
    return { done: true }
  })
  app.get('/', async () => 'hello')
  app.get('/metrics', { config: { lifecycle: 'always' } }, async () => 'up 1')
  await app.ready()

  const slow = app.inject('/slow')
  await entered.promise
  const shutdown = app.lifecycle.shutdown('SIGTERM')

  t.equal(app.lifecycle.phase, 'leaving')
  t.equal(app.lifecycle.ready, false)
  t.equal((await app.inject('/ready')).statusCode, 503)
  t.same((await app.inject('/ready')).json(), { status: 'leaving' })
  const still = await app.inject('/')
  t.equal(still.statusCode, 200, 'still serving')
  t.equal(still.headers.connection, 'close', 'and the connection is on its way out')

  await phase(app, 'requests')
  const refused = await app.inject('/')
  t.equal(refused.statusCode, 503)
  t.equal(refused.headers.connection, 'close')
  t.same(refused.json(), { statusCode: 503, code: 'FC_ERR_CLOSING', error: 'Service Unavailable', message: 'The service is closing and accepts no new work' })
  t.equal((await app.inject('/nowhere')).statusCode, 503)
  t.equal((await app.inject('/live')).statusCode, 200)
  t.equal((await app.inject('/metrics')).statusCode, 200)
  t.equal(tasks.closed, 0, 'a request in flight may submit tasks')

  go.resolve()
  const answer = await slow
  t.same(answer.json(), { done: true })
  t.equal(answer.headers.connection, 'close', 'told although it began before the shutdown')
  await phase(app, 'tasks')
  t.equal(workers.closed, 0)
  t.equal((await app.inject('/live')).statusCode, 200)

  workers.hold('thumbnail')
  tasks.finish('receipt')
  await phase(app, 'workers')
  t.equal((await app.inject('/live')).statusCode, 200)
  workers.finish('thumbnail')

  const report = await shutdown
  t.match(report, { reason: 'SIGTERM', completed: 3, unfinished: [] })
  t.ok(report.durationMs >= 300)
  t.equal(app.lifecycle.phase, 'closed')
})

t.test('a database plugin registered before, and one after, are open while tasks drain', async (t) => {
  const app = Fastify()
  const state = { before: 'open', after: 'open' }
  const database = (name: 'before' | 'after') => fp(async (app) => {
    app.addHook('onClose', async () => { state[name] = 'closed' })
  }, { name })
  await app.register(database('before'))
  await app.register(lifecycle)
  await app.register(database('after'))
  const tasks = fakeDrainable('tasks', 'tasks')
  tasks.hold('write')
  drainablesOf(app).add(tasks)
  await app.ready()

  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'tasks')
  t.same(state, { before: 'open', after: 'open' })
  tasks.finish('write')
  await shutdown
  t.same(state, { before: 'closed', after: 'closed' })
})

t.test('a bare close() drains too, before any onClose hook', async (t) => {
  const app = await build(t)
  const tasks = fakeDrainable('tasks', 'tasks')
  const workers = fakeDrainable('workers', 'workers')
  tasks.hold('t1')
  drainablesOf(app).add(tasks).add(workers)
  let atClose: number | undefined
  app.addHook('onClose', async () => { atClose = tasks.pending })
  await app.ready()
  const closed = app.close()
  await phase(app, 'tasks')
  t.equal(atClose, undefined)
  tasks.finish('t1')
  await closed
  t.equal(atClose, 0)
  t.match(await app.lifecycle.shutdown('too late'), { reason: 'close', completed: 1, unfinished: [] }, 'the report of what has happened')
})

t.test('past the timeout: given up by name, logged in one line, and the app closes all the same', async (t) => {
  const lines: string[] = []
  const app = await build(t, { timeout: 30, grace: 10 }, lines)
  const tasks = fakeDrainable('tasks', 'tasks')
  tasks.hold('welcome-email:1')
  drainablesOf(app).add(tasks)
  app.get('/stuck/:id', async () => new Promise(() => {}))
  await app.ready()
  const stuck = app.inject({ url: '/stuck/1', headers: { 'request-id': 'r-1' } })
  stuck.catch(() => {})
  await inFlight(app, 1)

  const report = await app.lifecycle.shutdown('SIGTERM')
  t.match(report.unfinished, [{ kind: 'request', name: 'GET /stuck/:id', attempt: 1 }, { kind: 'task', id: 'welcome-email:1' }])
  t.ok(report.unfinished[0]!.ageMs >= 30)
  t.same(tasks.abandonedAfter, [5])
  await t.rejects(stuck, 'its connection was cut')
  const logged = lines.map((line) => JSON.parse(line)).filter((line) => line.shutdown !== undefined)
  t.equal(logged.length, 1)
  t.match(logged[0], { level: 50, msg: /^shutdown: 0 completed, 2 unfinished in \d+ ms$/, shutdown: { reason: 'SIGTERM', unfinished: { length: 2 } } })
  // The handler never settles: nothing can end it, and the app is closed. It isn't what this test's teardown is about.
  drainablesOf(app).clear()
})

t.test('a request that ends within the grace is not lost', async (t) => {
  const app = await build(t, { timeout: 20, grace: 5_000 })
  const tasks = fakeDrainable('tasks', 'tasks')
  const unfinished = deferred()
  const giveUp = tasks.giveUp.bind(tasks)
  tasks.giveUp = async (grace) => { unfinished.resolve(); return giveUp(grace) }
  tasks.hold('t1')
  drainablesOf(app).add(tasks)
  app.get('/', async () => { await unfinished.promise; return 'sorry' })
  await app.ready()
  const answer = app.inject('/')
  await inFlight(app, 1)
  const report = await app.lifecycle.shutdown()
  t.equal((await answer).body, 'sorry')
  t.same(report.unfinished.map(({ kind }) => kind), ['task'])
  t.equal(report.completed, 1)
})

t.test('at the deadline the signals of requests abort, and handlers can answer within the grace period before connections are cut', async (t) => {
  const app = await build(t, { timeout: 20, grace: 10_000 })
  await app.register(cancellation)
  const grouped = deferred()
  const reasons = new Set<unknown>()
  app.get('/signal', async (request) => {
    await once(request.disconnected, 'abort')
    reasons.add(request.disconnected.reason)
    request.disconnected.throwIfAborted()
  })
  app.get('/late', async (request) => {
    await grouped.promise
    reasons.add(request.disconnected.reason)
    request.disconnected.throwIfAborted()
  })
  app.get('/deaf', async () => {
    await grouped.promise
    return 'done'
  })
  await app.register(limiter, { policies: { slow: { rate: 0.01, burst: 1, routes: 'named' } } })
  await app.limiter.wait('slow')
  app.get('/limited', async (request) => app.limiter.wait('slow', undefined, { signal: request.disconnected, timeout: 1_000_000 }))
  await app.ready()
  const [signal, late, deaf, limited] = ['/signal', '/late', '/deaf', '/limited'].map(async (url) => app.inject(url)) as
    [ReturnType<typeof app.inject>, ReturnType<typeof app.inject>, ReturnType<typeof app.inject>, ReturnType<typeof app.inject>]
  await inFlight(app, 4)
  const shutdown = app.lifecycle.shutdown()
  t.match((await limited).json(), { statusCode: 503, code: 'FC_ERR_CLOSING' }, 'a wait for tokens too')
  t.match((await signal).json(), { statusCode: 503, code: 'FC_ERR_CLOSING' })
  grouped.resolve()
  t.match((await late).json(), { statusCode: 503, code: 'FC_ERR_CLOSING' }, 'also if the signal is first read afterwards')
  t.equal(reasons.size, 2, 'no request sees the error of another, to which an error handler may have added its client\'s data')
  t.equal((await deaf).body, 'done')
  t.match(await shutdown, { completed: 1, unfinished: [] })
})

t.test('work that was given up is not counted as completed, nor is the error response about it', async (t) => {
  const app = await build(t, { timeout: 20, grace: 50 })
  const jobs = fakeDrainable('workers', 'workers')
  const killed = deferred()
  const giveUp = jobs.giveUp.bind(jobs)
  jobs.giveUp = async (grace) => { killed.reject(new Error('killed')); return giveUp(grace) }
  jobs.hold('j1')
  drainablesOf(app).add(jobs)
  const stuck = deferred()
  app.get('/waits', async () => killed.promise)
  app.get('/stuck', async () => stuck.promise)
  await app.ready()
  const failed = app.inject('/waits')
  const cut = app.inject('/stuck')
  cut.catch(() => {})
  await inFlight(app, 2)
  const report = await app.lifecycle.shutdown()
  t.equal((await failed).statusCode, 500)
  t.match(report, { completed: 0, unfinished: [{ kind: 'request', name: 'GET /stuck' }, { kind: 'job' }] })
  await t.rejects(assertIdle(app, { within: 5 }), { message: /GET \/stuck/ }, 'its handler still runs')
  stuck.resolve()
  await inFlight(app, 0)
  t.equal([...drainablesOf(app)].find(({ name }) => name === 'requests')!.completed, 0)
})

t.test('shutdown() twice is one shutdown', async (t) => {
  const app = await build(t)
  await app.ready()
  const first = app.lifecycle.shutdown('first')
  t.equal(app.lifecycle.shutdown('second'), first)
  t.equal((await first).reason, 'first')
  t.equal(app.lifecycle.shutdown('third'), first)
  await app.close()
})

const recursions: Record<string, (app: FastifyInstance) => void> = {
  'a shutdown hook': (app) => app.lifecycle.onShutdown(() => { void app.lifecycle.shutdown('again') }),
  'a subscriber of lifecycle:entered': (app) => {
    const again = (): void => { void app.lifecycle.shutdown('again') }
    subscribe('fastify-concurrency:lifecycle:entered', again)
    app.addHook('onClose', () => { unsubscribe('fastify-concurrency:lifecycle:entered', again) })
  }
}
for (const [who, callAgain] of Object.entries(recursions)) {
  t.test(`${who} that calls shutdown() gets the shutdown that runs, and the first reason holds`, async (t) => {
    const app = await build(t)
    callAgain(app)
    await app.ready()
    const first = app.lifecycle.shutdown('first')
    t.equal(app.lifecycle.shutdown(), first)
    t.equal((await first).reason, 'first')
  })
}

t.test('a close() during the delay ends the delay', async (t) => {
  const app = await build(t, { delay: 60_000, timeout: 120_000 })
  await app.ready()
  const shutdown = app.lifecycle.shutdown('SIGTERM')
  t.equal(app.lifecycle.phase, 'leaving')
  await app.close()
  t.match(await shutdown, { reason: 'SIGTERM', unfinished: [] })
})

t.test('shutdown() during the boot lets the app boot, and then closes it', async (t) => {
  const app = Fastify()
  const order: string[] = []
  await app.register(lifecycle)
  app.register(async (app) => {
    order.push('booting')
    app.addHook('onClose', async () => { order.push('closed') })
  })
  const report = await app.lifecycle.shutdown('SIGTERM')
  t.match(report, { reason: 'SIGTERM', completed: 0, unfinished: [] })
  t.same(order, ['booting', 'closed'])
  await app.listen({ port: 0 })
  t.equal(app.server.listening, false, 'Fastify would listen now; the process would never end')
})

t.test('shutdown() during a boot that fails gives the report', async (t) => {
  const app = Fastify()
  await app.register(lifecycle)
  app.register(async () => { throw new Error('no database') })
  t.match(await app.lifecycle.shutdown(), { completed: 0, unfinished: [] })
})

t.test('shutdown hooks run when requests drain and are waited for, and their errors are logged', async (t) => {
  const lines: string[] = []
  const app = await build(t, {}, lines)
  const said: string[] = []
  const slow = deferred()
  await app.ready()
  app.lifecycle.onShutdown(async () => { said.push('slow'); await slow.promise })
  app.lifecycle.onShutdown(() => { throw new Error('the socket is gone') })
  const takeBack = app.lifecycle.onShutdown(() => { said.push('taken back') })
  takeBack()
  takeBack()
  t.same(said, [])
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'requests')
  t.same(said, ['slow'])
  app.lifecycle.onShutdown(() => { said.push('late') })
  t.same(said, ['slow', 'late'], 'a stream that opens while requests drain hears it at once')
  t.equal(app.lifecycle.phase, 'requests', 'waits for the slow one')
  slow.resolve()
  await shutdown
  t.equal(lines.filter((line) => line.includes('the socket is gone')).length, 1)
})

t.test('the report names a shutdown hook that hangs', async (t) => {
  const app = Fastify()
  const hang = deferred()
  await app.register(lifecycle, { timeout: 20, grace: 5 })
  await app.ready()
  app.lifecycle.onShutdown(async function sayGoodbye () { await hang.promise })
  app.lifecycle.onShutdown(async () => hang.promise)
  const { unfinished } = await app.lifecycle.shutdown()
  t.match(unfinished, [{ kind: 'hook', name: 'sayGoodbye', attempt: 1, ageMs: Number }, { kind: 'hook', name: '(anonymous)' }])
  await t.rejects(assertIdle(app, { within: 5 }), { message: /hook sayGoodbye/ }, 'it still runs')
  hang.resolve()
  await assertIdle(app)
})

t.test('a shutdown hook that is no function is refused when it is added', async (t) => {
  const app = await build(t)
  t.throws(() => app.lifecycle.onShutdown(5 as never), { code: 'FC_ERR_OPTION_INVALID', message: /"onShutdown": expected a function, received 5/ })
})

t.test('the channels publish each phase, each refusal and the report', async (t) => {
  const app = await build(t)
  const phases: string[] = []
  const refusals: unknown[] = []
  const onEntered = (message: unknown): void => { phases.push((message as { phase: string }).phase) }
  const onRefused = (message: unknown): void => { refusals.push(message) }
  subscribe('fastify-concurrency:lifecycle:entered', onEntered)
  subscribe('fastify-concurrency:lifecycle:refused', onRefused)
  t.teardown(() => {
    unsubscribe('fastify-concurrency:lifecycle:entered', onEntered)
    unsubscribe('fastify-concurrency:lifecycle:refused', onRefused)
  })
  const tasks = fakeDrainable('tasks', 'tasks')
  tasks.hold('t1')
  drainablesOf(app).add(tasks)
  app.get('/users/:id', async () => 'user')
  await app.ready()
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'tasks')
  await app.inject('/users/1')
  tasks.finish('t1')
  await shutdown
  t.same(phases, ['requests', 'tasks', 'workers', 'closing', 'closed'])
  t.match(refusals, [{ phase: 'tasks', method: 'GET', route: '/users/:id' }])
})

for (const [options, message] of [
  [{ delay: -1 }, 'Option "lifecycle.delay": expected milliseconds from 0 to 2147483647, received -1'],
  [{ delay: NaN }, 'Option "lifecycle.delay": expected milliseconds from 0 to 2147483647, received NaN'],
  [{ delay: 8_000 }, 'Option "lifecycle.delay": expected less than the timeout of 8000 ms, which it is part of, received 8000'],
  [{ timeout: '5s' }, 'Option "lifecycle.timeout": expected milliseconds from 0 to 2147483647, or Infinity, received \'5s\''],
  [{ grace: Infinity }, 'Option "lifecycle.grace": expected milliseconds from 0 to 2147483647, received Infinity'],
  [{ readyPath: 'ready' }, 'Option "lifecycle.readyPath": expected false, or a path such as /ready, of letters, digits, and -._~, received \'ready\''],
  [{ livePath: true }, 'Option "lifecycle.livePath": expected false, or a path such as /ready, of letters, digits, and -._~, received true'],
  [{ readyPath: '/*' }, 'Option "lifecycle.readyPath": expected false, or a path such as /ready'],
  [{ livePath: '/:x' }, 'Option "lifecycle.livePath": expected false, or a path such as /ready'],
  [{ timeOut: 5 }, 'Option "lifecycle.timeOut": expected one of the options delay, timeout, grace, readyPath, livePath, ready, readyTimeout, received 5']
] as const) {
  t.test(`invalid: ${JSON.stringify(options)}`, async (t) => {
    const app = Fastify()
    await t.rejects(async () => app.register(lifecycle, options as never), { code: 'FC_ERR_OPTION_INVALID', message })
    await app.close()
  })
}
