// Policies that bound how many run at a time: for code, by app.limiter.run(), and for requests.
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { Bound, type Release } from '../../../plugins/limiter/concurrency/bound.ts'
import limiter, { type Policies } from '../../../plugins/limiter/index.ts'
import lifecycle from '../../../plugins/lifecycle/index.ts'
import { deferred, rejection, until, type Deferred } from '../../helper.ts'

async function start (t: Test, policies: Policies, routes: (app: FastifyInstance) => Promise<void> | void = () => {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(limiter, { policies })
  await routes(app)
  await app.ready()
  return app
}

/** Work whose ends are in the hands of the test. */
class Work {
  readonly running: Array<{ name: string, end: Deferred }> = []
  readonly order: string[] = []

  readonly do = async (name: string): Promise<string> => {
    const end = deferred()
    this.order.push(name)
    this.running.push({ name, end })
    await end.promise
    return name
  }

  end (): void { this.running.shift()?.end.resolve() }
}

t.test('at most so many run at a time for each key, in the order of their calls', async (t) => {
  const app = await start(t, { db: { concurrency: 2, maxWait: 10_000 } })
  const work = new Work()
  const calls = ['a', 'b', 'c', 'd'].map((name) => app.limiter.run('db', () => work.do(name)))
  const other = app.limiter.run('db', () => work.do('other'), { key: 'tenant' })
  await until(() => work.order.length === 3, 'two of a key and one of another run')
  t.strictSame([...work.order].sort(), ['a', 'b', 'other'])
  for (let i = 0; i < 5; i++) {
    await until(() => work.running.length > 0, 'one runs')
    work.end()
  }
  t.strictSame(await Promise.all([...calls, other]), ['a', 'b', 'c', 'd', 'other'])
  t.strictSame(work.order.filter((name) => name !== 'other'), ['a', 'b', 'c', 'd'])
})

t.test('a bound of the client\'s own answers 429 with Retry-After', async (t) => {
  const end = deferred()
  const app = await start(t, { tenant: { concurrency: 1, maxWaiting: 0, status: 429, key: ({ headers }) => String(headers['x-tenant']) } }, (app) => {
    app.get('/', async () => { await end.promise; return 'served' })
  })
  const ask = async (tenant: string): Promise<{ statusCode: number, headers: object, json: () => unknown }> => await app.inject({ url: '/', headers: { 'x-tenant': tenant } })
  const first = ask('acme')
  const second = await ask('acme')
  t.match(second, { statusCode: 429, headers: { 'retry-after': /^\d+$/ } })
  t.match(second.json(), { statusCode: 429, code: 'FC_ERR_LIMIT_BUSY' })
  const other = ask('bolt')
  end.resolve()
  t.strictSame([(await first).statusCode, (await other).statusCode], [200, 200])
  t.match(await rejection(start(t, { db: { concurrency: 1, status: 500 as never } })), { code: 'FC_ERR_OPTION_INVALID', message: /db\.status.*429, 503/ })
})

t.test('what would wait too long, or has, is refused with 503 and Retry-After, and one that is refused holds no permit', async (t) => {
  const app = await start(t, { db: { concurrency: 1, maxWait: 20, maxWaiting: 1 } })
  const work = new Work()
  const first = app.limiter.run('db', () => work.do('first'))
  const late = rejection(app.limiter.run('db', () => work.do('late')))
  t.match(await rejection(app.limiter.run('db', () => work.do('full'))), { code: 'FC_ERR_LIMIT_BUSY', statusCode: 503, reason: 'count', policy: 'db', limit: 1 })
  t.match(await late, { code: 'FC_ERR_LIMIT_BUSY', reason: 'shed', retryAfter: 1, message: 'Too many requests are under way, try again in 1 s' })
  work.end()
  await first
  const next = app.limiter.run('db', () => work.do('next'))
  await until(() => work.running.length === 1, 'it runs')
  work.end()
  t.equal(await next, 'next')
  t.strictSame(work.order, ['first', 'next'])
})

t.test('a permit is given back whatever the function does, and a wait ends with its signal', async (t) => {
  const app = await start(t, { db: { concurrency: 1, maxWait: 10_000 } })
  const failed = new Error('the query failed')
  t.equal(await rejection(app.limiter.run('db', () => { throw failed })), failed)
  t.equal(await rejection(app.limiter.run('db', async () => { throw failed })), failed)
  const work = new Work()
  const first = app.limiter.run('db', () => work.do('first'))
  const controller = new AbortController()
  const aborted = rejection(app.limiter.run('db', () => work.do('aborted'), { signal: controller.signal }))
  controller.abort(new Error('enough'))
  t.match(await aborted, { code: 'FC_ERR_LIMIT_WAIT_ABORTED', cause: { message: 'enough' } })
  t.match(await rejection(app.limiter.run('db', () => 1, { signal: controller.signal })), { code: 'FC_ERR_LIMIT_WAIT_ABORTED' })
  await until(() => work.running.length === 1, 'it runs')
  work.end()
  t.equal(await first, 'first')
  t.strictSame(work.order, ['first'])
})

t.test('requests of one client do not keep those of another waiting', async (t) => {
  const work = new Work()
  const app = await start(t, { db: { concurrency: 1, maxWait: 10_000 } }, (app) => {
    app.get('/', async ({ ip }) => work.do(ip))
  })
  const ask = async (remoteAddress: string): Promise<number> => (await app.inject({ url: '/', remoteAddress })).statusCode
  const answers = [...Array.from({ length: 6 }, () => ask('10.0.0.1'))]
  await until(() => work.running.length === 1, 'one runs')
  answers.push(ask('10.0.0.2'))
  for (let i = 0; i < 7; i++) {
    await until(() => work.running.length === 1, 'one runs')
    work.end()
  }
  t.strictSame(await Promise.all(answers), Array(7).fill(200))
  t.ok(work.order.indexOf('10.0.0.2') <= 2, work.order.join(' '))
})

t.test('a permit is held until the handler has ended, also if its client has left', async (t) => {
  const work = new Work()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(lifecycle)
  await app.register(limiter, { policies: { db: { concurrency: 1, maxWait: 10_000 } } })
  app.get('/:name', async ({ params }) => work.do((params as { name: string }).name))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  let closed = 0
  app.server.on('connection', (socket) => socket.on('close', () => { closed++ }))
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /left HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => work.order.length === 1, 'it runs')
  socket.destroy()
  await until(() => closed === 1, 'the server knows')
  const next = app.inject('/next')
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.strictSame(work.order, ['left'], 'its handler still runs')
  work.end()
  await until(() => work.order.length === 2, 'the next runs')
  work.end()
  t.equal((await next).body, 'next')
})

t.test('a handler that never answers, or never ends, holds its permit for a bounded time once its client has left', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(lifecycle, { timeout: 100, grace: 50 })
  await app.register(limiter, { policies: { db: { concurrency: 1, maxWait: 60_000 } } })
  let runs = 0
  app.get('/callback', () => { runs++ })
  app.get('/promise', async () => { runs++; await new Promise(() => {}) })
  app.get('/next', () => 'next')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  for (const [index, path] of ['/callback', '/promise'].entries()) {
    const socket = connect(port, '127.0.0.1')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await until(() => runs === index + 1, 'it runs')
    socket.destroy()
    t.equal((await app.inject('/next')).body, 'next', path)
  }
})

t.test('a client that leaves while its request waits: the handler never runs', async (t) => {
  const work = new Work()
  const app = await start(t, { db: { concurrency: 1, maxWait: 10_000 } }, (app) => {
    app.get('/:name', async ({ params }) => work.do((params as { name: string }).name))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const first = app.inject('/first')
  await until(() => work.order.length === 1, 'it runs')
  let closed = 0
  app.server.on('connection', (socket) => socket.on('close', () => { closed++ }))
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /left HTTP/1.1\r\nHost: x\r\n\r\n')
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  socket.destroy()
  await until(() => closed === 1, 'the server knows')
  const next = app.inject('/next')
  work.end()
  await first
  await until(() => work.order.length === 2, 'the next runs')
  work.end()
  t.equal((await next).body, 'next')
  t.strictSame(work.order, ['first', 'next'])
})

t.test('handlerTimeout is a deadline of the wait: a request that could not be answered in time is refused at once', async (t) => {
  const refusals: unknown[] = []
  const end = deferred()
  let [arrived, begun] = [0, 0]
  const app = await start(t, { db: { concurrency: 1, maxWait: 60_000, routes: 'named' } }, (app) => {
    app.addHook('onError', async (_request, _reply, error) => { refusals.push(error) })
    app.get('/ahead', async () => {
      arrived++
      return app.limiter.run('db', async () => {
        await (++begun === 1 ? sleep(300) : end.promise)
      })
    })
    app.get('/code', { handlerTimeout: 1_000 }, async () => app.limiter.run('db', () => 'code'))
    app.get('/route', { handlerTimeout: 1_000, config: { limiter: { policies: ['db'] } } }, () => 'route')
  })
  // What a run takes is known from the one that has ended.
  const ahead = Array.from({ length: 2 }, async () => app.inject('/ahead'))
  await until(() => begun === 2, 'one has ended')
  ahead.push(...Array.from({ length: 20 }, async () => app.inject('/ahead')))
  await until(() => arrived === 22, 'they wait')
  for (const url of ['/code', '/route']) t.match((await app.inject(url)).json(), { statusCode: 503, code: 'FC_ERR_LIMIT_BUSY' }, url)
  t.match(refusals, [{ reason: 'deadline' }, { reason: 'deadline' }])
  end.resolve()
  await Promise.all(ahead)
  t.equal((await app.inject('/code')).payload, 'code')
})

t.test('a wait that is still on at its deadline is refused', async (t) => {
  const bound = new Bound({ name: 'db', concurrency: 1, maxWait: 600_000, maxWaiting: 10, key: undefined, stage: undefined, status: 503, routes: 'named' })
  const release = bound.acquire({ key: '', client: '', signals: [] }) as Release
  const late = bound.acquire({ key: '', client: '', deadline: performance.now() + 20, signals: [] })
  t.match(await rejection(late as Promise<unknown>), { code: 'FC_ERR_LIMIT_BUSY', reason: 'deadline', retryAfter: 1 })
  release()
  t.same(bound.stats, { running: 0, waiting: 0 })
})

t.test('at its deadline, a shutdown says to a client that waits that it is closing, and not that the client has left', async (t) => {
  const work = new Work()
  const app = Fastify()
  await app.register(lifecycle, { timeout: 100, grace: 1_000 })
  await app.register(limiter, { policies: { db: { concurrency: 1, maxWait: 60_000, routes: 'named' } } })
  const waits = deferred()
  app.get('/', async () => {
    const waiting = app.limiter.run('db', () => work.do('waits'))
    waits.resolve()
    return waiting
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  void app.limiter.run('db', () => work.do('holds'))
  const answer = fetch(url)
  await waits.promise
  const closed = app.lifecycle.shutdown()
  t.match(await (await answer).json(), { statusCode: 503, code: 'FC_ERR_CLOSING' })
  work.end()
  await closed
})

t.test('during a shutdown, a route that is always answered takes its permit, and holds it until its handler has ended', async (t) => {
  const work = new Work()
  const app = Fastify()
  await app.register(lifecycle, { delay: 60_000, timeout: 120_000 })
  await app.register(limiter, { policies: { db: { concurrency: 1, maxWait: 60_000 } } })
  app.get('/:name', { config: { lifecycle: 'always' } }, async ({ params }) => work.do((params as { name: string }).name))
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const before = fetch(`${url}/before`)
  await until(() => work.running.length === 1, 'it runs')
  const closed = app.lifecycle.shutdown()
  const during = fetch(`${url}/during`)
  await sleep(50)
  t.strictSame(work.order, ['before'], 'one at a time')
  work.end()
  t.equal(await (await before).text(), 'before')
  await until(() => work.running.length === 1, 'the next runs')
  work.end()
  t.equal(await (await during).text(), 'during')
  await Promise.all([app.close(), closed])
})

t.test('routes name their bounds, and have keys; a refused request gets a 503', async (t) => {
  const work = new Work()
  const app = await start(t, {
    tenant: { concurrency: 1, maxWait: 0, key: ({ headers }) => String(headers['x-tenant']) },
    reports: { concurrency: 1, maxWait: 0, routes: 'named' }
  }, (app) => {
    const handler = async ({ url }: { url: string }): Promise<string> => work.do(url)
    app.get('/report', { config: { limiter: { policies: ['reports'] } } }, handler)
    app.get('/', handler)
    app.get('/free', { config: { limiter: false } }, () => 'free')
  })
  const ask = async (url: string, tenant: string): Promise<{ statusCode: number, headers: Record<string, unknown>, body: string }> =>
    app.inject({ url, headers: { 'x-tenant': tenant } })
  const [a, b] = [ask('/report', 'a'), ask('/', 'b')]
  await until(() => work.order.length === 2, 'a tenant each')
  for (const [url, tenant] of [['/report', 'c'], ['/', 'a']] as const) {
    const { statusCode, headers, body } = await ask(url, tenant)
    t.equal(statusCode, 503, `${url} of ${tenant}`)
    t.equal(headers['retry-after'], '1')
    t.match(JSON.parse(body), { code: 'FC_ERR_LIMIT_BUSY' })
  }
  t.equal((await ask('/free', 'a')).statusCode, 200)
  work.end()
  work.end()
  t.strictSame((await Promise.all([a, b])).map(({ statusCode }) => statusCode), [200, 200])
  const after = ask('/', 'c')
  await until(() => work.order.length === 3, 'a refused request holds no permit')
  work.end()
  t.equal((await after).statusCode, 200)
})

declare module 'fastify' {
  interface FastifyRequest { tenant: string | undefined }
}

t.test('a key that is known only after authentication: the bound is the last preHandler, and gives each permit back once', async (t) => {
  const work = new Work()
  const app = await start(t, { tenant: { concurrency: 1, maxWait: 0, stage: 'preHandler', key: (request) => request.tenant } }, (app) => {
    app.decorateRequest('tenant', undefined)
    app.addHook('preHandler', async (request, reply) => {
      const tenant = request.headers['x-tenant'] as string | undefined
      if (tenant === 'stranger') return reply.code(403).send('no')
      if (tenant === 'broken') throw new Error('the token cannot be read')
      request.tenant = tenant
    })
    app.get('/', { preHandler: async ({ headers }, reply) => headers['x-cached'] === undefined ? undefined : reply.send('cached') }, async ({ tenant }) => work.do(String(tenant)))
  })
  const ask = async (tenant: string | undefined, headers: Record<string, string> = {}): Promise<number> =>
    (await app.inject({ url: '/', headers: { ...tenant === undefined ? {} : { 'x-tenant': tenant }, ...headers } })).statusCode
  for (let round = 1; round <= 2; round++) {
    const [a, b] = [ask('a'), ask('b')]
    await until(() => work.running.length === 2, 'a tenant each')
    t.equal(await ask('a'), 503, 'the bound of a is full')
    t.equal(await ask('a', { 'x-cached': '1' }), 200, 'an early reply takes no permit')
    t.equal(await ask('stranger'), 403)
    t.equal(await ask('broken'), 500)
    t.equal(await ask(undefined), 401, 'a request without a key shares no bound')
    work.end()
    work.end()
    t.strictSame(await Promise.all([a, b]), [200, 200])
    t.equal(work.order.length, 2 * round)
  }
  t.equal((await app.inject('/missing')).statusCode, 404, 'the limit of the stage is not for 404s')
})

t.test('a rate of the preHandler stage is decided before the bound: what it refuses takes no permit', async (t) => {
  const work = new Work()
  const last: string[] = []
  const app = await start(t, {
    slow: { concurrency: 1, maxWait: 60_000, stage: 'preHandler', key: ({ ip }) => ip },
    few: { rate: 1e-6, burst: 1, stage: 'preHandler' }
  }, (app) => {
    app.addHook('onRoute', (route) => { route.preHandler = [route.preHandler ?? []].flat().concat(async ({ id }) => { last.push(id) }) })
    app.get('/', async () => work.do('once'))
  })
  const first = app.inject('/')
  await until(() => work.running.length === 1, 'it runs')
  t.equal((await app.inject('/')).statusCode, 429, 'without waiting for the permit')
  t.equal(last.length, 2, 'a hook that was added later ran before both')
  work.end()
  t.equal((await first).statusCode, 200)
})

t.test('a request without a key gets a 401, also in the hook before the preHandlers of the application', async (t) => {
  const app = await start(t, { tenant: { concurrency: 1, key: ({ headers }) => headers['x-tenant'] as string | undefined } }, (app) => { app.get('/', () => 'ok') })
  t.match((await app.inject('/')).json(), { statusCode: 401, code: 'FC_ERR_LIMIT_KEY_MISSING' })
  t.match((await app.inject({ url: '/', headers: { 'x-tenant': '' } })).json(), { statusCode: 401 })
  t.equal((await app.inject({ url: '/', headers: { 'x-tenant': 'a' } })).statusCode, 200)
})

t.test('a route that was declared before the limiter, with a bound in preHandler: it fails rather than pass', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/', { config: { limiter: { policies: ['db'] } } }, () => 'passed')
  await app.register(limiter, { policies: { db: { concurrency: 1, stage: 'preHandler', routes: 'named' } } })
  t.match((await app.inject('/')).json(), { code: 'FC_ERR_OPTION_INVALID' })
})

t.test('a request that calls the not-found handler holds its permit, and does not wait for another', async (t) => {
  const app = await start(t, { db: { concurrency: 1, maxWait: 60_000 } }, (app) => {
    app.get('/file', (_request, reply) => { reply.callNotFound() })
  })
  for (const url of ['/file', '/file', '/missing']) t.equal((await app.inject(url)).statusCode, 404, url)
})

t.test('what is wrong is said at boot, and an unknown policy by run()', async (t) => {
  for (const policy of [{ concurrency: 0 }, { concurrency: '1' }, { concurrency: 1, maxWait: -1 }, { concurrency: 1, rate: 1 }, { concurrency: 1, key: 'address' }, { concurrency: 1, stage: 'onRequest' }]) {
    const app = Fastify()
    t.match(await rejection(app.register(limiter, { policies: { db: policy as never } }) as unknown as Promise<unknown>), { code: 'FC_ERR_OPTION_INVALID', message: /limiter\.policies\.db/ })
  }
  const app = await start(t, { db: { concurrency: 1 }, api: { rate: 1, burst: 1 } })
  t.match(await rejection(app.limiter.run('api', () => 1)), { code: 'FC_ERR_LIMIT_UNKNOWN', known: ['db'] })
  t.match(await rejection(app.limiter.allow('db')), { code: 'FC_ERR_LIMIT_UNKNOWN' })
})
