// One limit a route: under each of its methods and spellings, alone or in a group, and whatever else listens on it.
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import limiter, { type LimiterOptions } from '../../plugins/limiter/index.ts'
import { build, NEVER } from './helper.ts'

const wide = { rate: 1000, burst: 1000 } as const
const window = { max: 2, timeWindow: '1 hour' }
const head = (url: string) => ({ method: 'HEAD', url }) as const
const post = (url: string) => ({ method: 'POST', url }) as const

t.test('HEAD counts with the route that answers GET, however that was declared', async (t) => {
  const config = { rateLimit: window }
  const handler = async (): Promise<string> => 'ok'
  const declare: Record<string, (app: FastifyInstance) => unknown> = {
    get: (app) => app.get('/x', { config }, handler),
    'GET and POST': (app) => app.route({ method: ['GET', 'POST'], url: '/x', config, handler }),
    'POST and GET': (app) => app.route({ method: ['POST', 'GET'], url: '/x', config, handler }),
    'GET, HEAD and POST': (app) => app.route({ method: ['GET', 'HEAD', 'POST'], url: '/x', config, handler }),
    'lower case': (app) => app.route({ method: ['get', 'post'] as never, url: '/x', config, handler }),
    all: (app) => app.all('/x', { config }, handler),
    'HEAD of its own, before': (app) => app.head('/x', { config: { rateLimit: { ...window } } }, handler).route({ method: ['GET', 'POST'], url: '/x', config, handler }),
    'HEAD of its own, after': (app) => app.route({ method: ['GET', 'POST'], url: '/x', config, handler, exposeHeadRoute: false }).head('/x', { config: { rateLimit: { ...window } } }, handler),
    'a prefix': (app) => app.register(async (scope) => { scope.route({ method: ['GET', 'POST'], url: '/', config, handler }) }, { prefix: '/x' }),
    'a constraint': (app) => app.route({ method: ['GET', 'POST'], url: '/x', constraints: { host: 'localhost:80' }, config, handler })
  }
  for (const [name, route] of Object.entries(declare)) {
    for (const exposeHeadRoutes of [true, false]) {
      const { app, statuses } = await build(t, { policies: { wide } }, (app) => { void route(app) }, { exposeHeadRoutes })
      t.same(await statuses('/x', '/x', '/x'), [200, 200, 429], name)
      for (const url of ['/x', '/x/']) {
        if (app.hasRoute({ method: 'HEAD', url, ...(name === 'a constraint' ? { constraints: { host: 'localhost:80' } } : {}) })) t.same(await statuses(head(url)), [429], `${name}: HEAD ${url}`)
        if (name === 'a prefix') t.same(await statuses(url), [429], url)
      }
      if (app.hasRoute({ method: 'POST', url: '/x' })) t.same(await statuses(post('/x')), [429], name)
    }
  }
})

t.test('routes that only share a path count apart', async (t) => {
  const { statuses } = await build(t, { policies: { wide } }, (app) => {
    app.get('/x', { config: { rateLimit: { max: 1, timeWindow: '1 hour' } } }, async () => 'ok')
    app.post('/x', { config: { rateLimit: { max: 2, timeWindow: '1 hour' } } }, async () => 'ok')
    app.get('/x/', { config: { rateLimit: { max: 1, timeWindow: '1 hour' } } }, async () => 'ok')
  })
  t.same(await statuses('/x', '/x', head('/x'), post('/x'), post('/x'), post('/x'), head('/x/'), '/x/'), [200, 429, 429, 200, 200, 429, 200, 429])
})

t.test('HEAD counts with GET on a route that was declared before the limiter', async (t) => {
  for (const first of ['GET', 'HEAD'] as const) {
    const app = Fastify()
    t.teardown(() => app.close())
    app.route({ method: ['GET', 'POST'], url: '/x', config: { rateLimit: window }, handler: async () => 'ok' })
    await app.register(limiter, { policies: { wide } })
    const statuses: number[] = []
    for (const method of [first, 'HEAD', 'GET', 'HEAD', 'POST'] as const) statuses.push((await app.inject({ method, url: '/x' })).statusCode)
    t.same(statuses, [200, 200, 429, 429, 429])
  }
})

const refuses = async (t: Test, message: RegExp, declare: (app: FastifyInstance) => void): Promise<void> => {
  const app = Fastify()
  await t.rejects((async () => {
    try {
      await app.register(limiter, { policies: { wide } } satisfies LimiterOptions)
      declare(app)
      await app.ready()
    } finally {
      await app.close()
    }
  })(), { code: 'FC_ERR_OPTION_INVALID', message }, String(message))
}

t.test('routes of a group that differ in any option are refused at boot, rather than lose it', async (t) => {
  const first = { max: 1, timeWindow: 60_000, groupId: 'g' }
  const key = (): string => 'k'
  const later: Record<string, object> = {
    max: { max: 2 },
    timeWindow: { timeWindow: '2 minutes' },
    keyGenerator: { keyGenerator: key },
    allowList: { allowList: ['10.0.0.1'] },
    hook: { hook: 'preHandler' },
    ipv6Subnet: { ipv6Subnet: 48 },
    skipOnError: { skipOnError: false }
  }
  for (const [option, value] of Object.entries(later)) {
    for (const [one, other] of [[first, { ...first, ...value }], [{ ...first, ...value }, first]]) {
      await refuses(t, new RegExp(`^Option "POST /b: config\\.rateLimit\\.${option}": expected the same as on the other routes of "group g"`), (app) => {
        app.get('/a', { config: { rateLimit: one! } }, async () => 'ok')
        app.post('/b', { config: { rateLimit: other! } }, async () => 'ok')
      })
    }
  }
  for (const option of ['keyGenerator', 'max', 'timeWindow', 'allowList']) {
    await refuses(t, new RegExp(`POST /b: config\\.rateLimit\\.${option}": expected the same`), (app) => {
      app.get('/a', { config: { rateLimit: { ...first, [option]: () => 1 as never } } }, async () => 'ok')
      app.post('/b', { config: { rateLimit: { ...first, [option]: () => 1 as never } } }, async () => 'ok')
    })
  }
})

t.test('routes of a group that say the same, however they write it, share a bucket', async (t) => {
  const keyGenerator = (): string => 'k'
  const { statuses } = await build(t, { policies: { wide } }, (app) => {
    app.get('/a', { config: { rateLimit: { max: 2, timeWindow: 60_000, groupId: 'g', keyGenerator, allowList: ['vip'] } } }, async () => 'ok')
    app.post('/b', { config: { rateLimit: { max: 2, timeWindow: '1 minute', groupId: 'g', keyGenerator, allowList: ['vip'], hook: 'onRequest' } } }, async () => 'ok')
  })
  t.same(await statuses('/a', post('/b'), '/a', post('/b'), head('/a')), [200, 200, 429, 429, 429])
})

t.test('an onRoute hook that throws a route\'s limit away with its config is an error', async (t) => {
  await refuses(t, /^Option "GET \/: config": expected/, (app) => {
    app.addHook('onRoute', (route) => { route.config = { mine: true } as never })
    app.get('/', { config: { rateLimit: window } }, async () => 'ok')
  })
})

t.test('an onRoute hook that replaces a route\'s preHandler, or wraps it, neither frees the route of its limit nor counts its requests twice', async (t) => {
  type Hooks = { preHandler?: unknown }
  const wrap = (hook: unknown) => function (this: unknown, ...args: unknown[]) { return (hook as (...args: unknown[]) => unknown).apply(this, args) }
  const changes: Record<string, (route: Hooks) => void> = {
    replaces: (route) => { route.preHandler = [async () => {}] },
    'replaces by one function': (route) => { route.preHandler = async () => {} },
    removes: (route) => { route.preHandler = undefined },
    wraps: (route) => { route.preHandler = [route.preHandler ?? []].flat().map(wrap) },
    'adds in front': (route) => { route.preHandler = [async () => {}, route.preHandler ?? []].flat() },
    'adds behind': (route) => { (route.preHandler as unknown[] | undefined)?.push(async () => {}) }
  }
  const user = { rate: NEVER, burst: 2, key: 'address', stage: 'preHandler' } as const
  for (const [name, change] of Object.entries(changes)) {
    for (const policies of [{ user }, { wide, user: { ...user, routes: 'named' } }] as const) {
      for (const preHandler of [undefined, async () => {}]) {
        const { statuses } = await build(t, { policies }, (app) => {
          app.addHook('onRoute', change as never)
          app.get('/', { config: { limiter: { policies: ['user'] } }, ...(preHandler === undefined ? {} : { preHandler }) }, async () => 'ok')
        })
        t.same(await statuses('/', head('/'), '/', head('/')), [200, 200, 429, 429], name)
      }
    }
  }
})

t.test('an onRoute hook that deletes a route\'s preHandler is an error at boot', async (t) => {
  await refuses(t, /^Option "GET \/: preHandler": expected/, (app) => {
    app.addHook('onRoute', (route) => { delete route.preHandler })
    app.get('/', { config: { rateLimit: { ...window, hook: 'preHandler' } } }, async () => 'ok')
  })
})

t.test('a router that prints its routes in its own way isn\'t taken for one whose routes escape', async (t) => {
  const warned: unknown[] = []
  const stream = { write: (line: string) => { const { level, routes } = JSON.parse(line) as { level: number, routes?: unknown }; if (level === 40 && routes !== undefined) warned.push(routes) } }
  const metas: Array<{ meta: () => unknown, canPrint: boolean }> = [
    { meta: () => ({}), canPrint: true },
    { meta: () => ({ own: 1 }), canPrint: true },
    { meta: () => undefined, canPrint: false },
    { meta: () => { throw new Error('mine') }, canPrint: false }
  ]
  for (const { meta: buildPrettyMeta, canPrint } of metas) {
    for (const server of [{ routerOptions: { buildPrettyMeta } }, { buildPrettyMeta }]) {
      for (const stage of ['onRequest', 'preHandler'] as const) {
        warned.length = 0
        const app = Fastify({ logger: { stream }, ...server as object })
        t.teardown(() => app.close())
        app.get('/early', async () => 'ok')
        await app.register(limiter, { policies: { one: { rate: NEVER, burst: 1, stage } } })
        app.get('/', async () => 'ok')
        await app.ready()
        t.same(warned, stage === 'preHandler' && canPrint ? [['GET /early', 'HEAD /early']] : [], 'a policy of the preHandler stage misses what was added before')
        t.same([(await app.inject('/')).statusCode, (await app.inject('/')).statusCode], [200, 429])
      }
    }
  }
})

t.test('a plugin that wraps hooks, as tracers do, doesn\'t make every route escape', async (t) => {
  const warned: unknown[] = []
  const stream = { write: (line: string) => { const { level, routes } = JSON.parse(line) as { level: number, routes?: unknown }; if (level === 40 && routes !== undefined) warned.push(routes) } }
  const app = Fastify({ logger: { stream } })
  t.teardown(() => app.close())
  const { addHook } = app
  app.addHook = function (this: FastifyInstance, name: string, hook: (...args: unknown[]) => unknown) {
    const wrapped = name === 'onRequest' ? function (this: unknown, ...args: unknown[]) { return hook.apply(this, args) } : hook
    return addHook.call(this, name as never, wrapped as never)
  } as never
  await app.register(limiter, { policies: { one: { rate: NEVER, burst: 1 } } })
  app.get('/', async () => 'ok')
  await app.ready()
  t.same([(await app.inject('/')).statusCode, (await app.inject('/')).statusCode, warned], [200, 429, []])
})
