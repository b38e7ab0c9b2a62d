// What the limiter leans on in @fastify/rate-limit, Fastify and ioredis: a version that changes one of these fails here, not in production.
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import rateLimit from '@fastify/rate-limit'
import t from 'tap'
import { fastifyOptionsOf } from '../../plugins/shared/private.ts'
import { printedRoutes } from '../../plugins/limiter/boot-checks.ts'

type Options = NonNullable<Parameters<FastifyInstance['createRateLimit']>[0]>
type Done = (error: Error | null, result?: { current: number, ttl: number }) => void

/** Where `plugins/limiter/boot-checks.ts` looks. */
const kPlugins = Symbol.for('registered-plugin')

interface Spy {
  app: FastifyInstance
  constructed: unknown[]
  children: unknown[]
  calls: Array<{ key: unknown, timeWindow: number, max: number }>
  answer: { current: number, ttl: number } | Error
}

async function spy (options: object = {}): Promise<Spy> {
  const app = Fastify()
  const spied: Spy = { app, constructed: [], children: [], calls: [], answer: { current: 1, ttl: 1500 } }
  class Store {
    constructor (params: unknown) { spied.constructed.push(params) }
    child (params: unknown): Store { spied.children.push(params); return this }
    incr (key: unknown, done: Done, timeWindow: number, max: number): void {
      spied.calls.push({ key, timeWindow, max })
      if (spied.answer instanceof Error) done(spied.answer)
      else done(null, spied.answer)
    }
  }
  await app.register(rateLimit, { global: false, store: Store as unknown as NonNullable<Options['store']>, ...options })
  return spied
}

/** Runs `use` in a request. */
async function inRequest (app: FastifyInstance, use: (request: FastifyRequest) => Promise<unknown>, config: object = {}): Promise<unknown> {
  let result: unknown
  app.get('/', { config }, async (request) => { result = await use(request); return 'ok' })
  const response = await app.inject('/')
  if (response.statusCode !== 200) throw new Error(response.body)
  return result
}

t.test('keyGenerator may be asynchronous, and what it throws is thrown', async (t) => {
  const spied = await spy()
  const check = spied.app.createRateLimit({ keyGenerator: async () => { throw new Error('mine') } })
  await t.rejects(inRequest(spied.app, check), /mine/)
  t.equal(spied.calls.length, 0)
})

t.test('exceeded means current above max; what the store throws is thrown', async (t) => {
  for (const [current, isExceeded] of [[1, false], [2, true], [Infinity, true]] as const) {
    const spied = await spy()
    spied.answer = { current, ttl: 0 }
    t.match(await inRequest(spied.app, spied.app.createRateLimit({ max: 1 })), { isExceeded })
  }
  const spied = await spy()
  spied.answer = new Error('store')
  await t.rejects(inRequest(spied.app, spied.app.createRateLimit({ max: 1 })), /store/)
})

t.test('options make a child of the store, with durations in ms and functions as they came', async (t) => {
  const spied = await spy()
  const max = (): number => 3
  spied.app.createRateLimit({ max, timeWindow: '2 minutes' })
  t.match(spied.children[0], { timeWindow: 120_000 })
  t.equal((spied.children[0] as { max: unknown }).max, max)
  spied.app.createRateLimit({})
  t.match(spied.children[1], { timeWindow: 60_000, max: 1000 })
  spied.app.createRateLimit({ timeWindow: 'soon' })
  t.equal((spied.children[2] as { timeWindow: unknown }).timeWindow, undefined, 'an unreadable duration is no duration')
})

t.test('the options that a child of the store is given are those that the checks read', async (t) => {
  const app = Fastify()
  class Store {
    child (params: object): Store { Object.assign(params, { keyGenerator: () => 'mine', skipOnError: false }); return this }
    incr (key: unknown): void { throw new Error(`asked for ${key}`) }
  }
  await app.register(rateLimit, { global: false, store: Store as unknown as NonNullable<Options['store']> })
  await t.rejects(inRequest(app, app.createRateLimit({ skipOnError: true })), /asked for mine/, 'what incr throws is thrown, too')
})

t.test('an invalid option silently becomes the default, so it is checked before', async (t) => {
  const spied = await spy()
  spied.app.createRateLimit({ max: -1, timeWindow: NaN })
  t.match(spied.children[0], { max: 1000, timeWindow: 60_000 })
})

t.test('global: false leaves routes alone', async (t) => {
  const spied = await spy()
  await inRequest(spied.app, async () => {})
  t.equal(spied.calls.length, 0)
})

t.test('a second registration leaves the decorators bound to the first, so the limiter refuses to be it', async (t) => {
  const spied = await spy()
  const before = spied.app.createRateLimit
  await spied.app.register(rateLimit, { global: false })
  t.equal(spied.app.createRateLimit, before)
})

t.test('app.rateLimit() throws what errorResponseBuilder gives, with ttl in ms', async (t) => {
  const spied = await spy({ errorResponseBuilder: (_request: unknown, { ttl }: { ttl: number }) => Object.assign(new Error(`in ${ttl}`), { statusCode: 429 }) })
  spied.answer = { current: 2, ttl: 1500 }
  spied.app.get('/', { onRequest: spied.app.rateLimit({ max: 1 }) }, async () => 'ok')
  const response = await spied.app.inject('/')
  t.equal(response.statusCode, 429)
  t.match(response.json(), { message: 'in 1500' })
  t.equal(response.headers['retry-after'], '2')
})

t.test('Fastify keeps its trustProxy where we look', async (t) => {
  for (const trustProxy of [true, false, 2, '10.0.0.1']) {
    const app: FastifyInstance = Fastify({ trustProxy: trustProxy as string })
    let inner: unknown
    await app.register(async (scope) => { inner = fastifyOptionsOf(scope)['trustProxy'] })
    t.equal(fastifyOptionsOf(app)['trustProxy'], trustProxy)
    t.equal(inner, trustProxy)
  }
})

t.test('Fastify prints its routes, their methods and the names of their hooks', async (t) => {
  const app = Fastify()
  app.get('/', async () => 1)
  app.route({ method: ['POST', 'PATCH'], url: '/a/:id', handler: async () => 1 })
  app.get('/f/:n(^\\d+)/x', async () => 1)
  app.get('*', async () => 1)
  app.get('/a/:id/b', { onRequest: async function own () {} }, async () => 1)
  app.get('/a/*', { constraints: { version: '1.0.0' } }, async () => 1)
  app.addHook('onRequest', async function everywhere () {})
  await app.register(async (scope) => { scope.put('/x y', async () => 1) }, { prefix: '/scoped' })
  await app.ready()
  const routes = printedRoutes(app)
  t.same(routes.map(({ name }) => name).filter((name) => !name.startsWith('HEAD')).sort(), [
    'GET *', 'GET /', 'GET /a/*', 'GET /a/:id/b', 'GET /f/:n(^\\d+)/x', 'PATCH /a/:id', 'POST /a/:id', 'PUT /scoped/x y'
  ])
  t.ok(routes.every(({ hooks }) => hooks.includes('"everywhere()"')))
  t.ok(routes.find(({ name }) => name === 'GET /a/:id/b')!.hooks.includes('"own()"'))
})

t.test('Fastify lists the plugins of a scope by name, one entry for each registration', async (t) => {
  const names = (scope: FastifyInstance): string[] => Array.from((scope as FastifyInstance & { [kPlugins]?: ArrayLike<string> })[kPlugins] ?? []).filter((name) => name === '@fastify/rate-limit')
  const app = Fastify()
  await app.register(rateLimit, { global: false })
  t.equal(names(app).length, 1)
  await app.register(async (scope) => {
    t.equal(names(scope).length, 1)
    await scope.register(rateLimit, { global: false })
    t.equal(names(scope).length, 2)
  })
  t.equal(names(app).length, 1)
  await app.register(rateLimit, { global: false })
  t.equal(names(app).length, 2)
})

t.test('Fastify copies a route\'s config after onRoute, symbols too', async (t) => {
  const app = Fastify()
  const mark = Symbol('mark')
  app.addHook('onRoute', (route) => { route.config = { ...route.config, [mark]: 1 } as NonNullable<typeof route.config> })
  let config: unknown
  app.get('/', async (request) => { config = request.routeOptions.config; return 'ok' })
  await app.inject('/')
  t.equal((config as Record<symbol, unknown>)[mark], 1)
})
