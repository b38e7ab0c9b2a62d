// Bad input, and what is told at boot.
import cluster from 'node:cluster'
import Fastify, { type FastifyInstance } from 'fastify'
import rateLimit from '@fastify/rate-limit'
import t, { type Test } from 'tap'
import { refused, type LimitRefused } from '../../plugins/limiter/channels.ts'
import limiter, { type LimiterOptions } from '../../plugins/limiter/index.ts'
import { build, NEVER } from './helper.ts'

const good = { rate: 1, burst: 2 }
const client = { ...good, key: 'address' } as const

async function refuses (t: Test, options: object, message: string | RegExp, routes?: (app: FastifyInstance) => void, server = {}): Promise<void> {
  const app: FastifyInstance = Fastify(server)
  t.teardown(() => app.close())
  await t.rejects((async () => {
    await app.register(limiter, options as LimiterOptions)
    routes?.(app)
    await app.ready()
  })(), { code: 'FC_ERR_OPTION_INVALID', message }, String(message))
}

t.test('a bad policy', async (t) => {
  const policy = (part: object, message: string | RegExp) => refuses(t, { policies: { p: { ...good, ...part } } }, message)
  for (const rate of [0, -1, NaN, -Infinity, '1', undefined]) {
    await policy({ rate }, /^Option "limiter\.policies\.p\.rate": expected a number of tokens above 0, or Infinity for no limit, or a function/)
  }
  for (const burst of [0, -1, NaN, Infinity, 1.5, '2', undefined]) await policy({ burst }, /^Option "limiter\.policies\.p\.burst": expected a whole number from 1/)
  await policy({ key: 'ip' }, /^Option "limiter\.policies\.p\.key": expected 'address', \{ header, known \} or a function, received 'ip'/)
  await policy({ key: { header: '' } }, /p\.key\.header/)
  await policy({ key: { cookie: 'a' } }, /p\.key\.cookie/)
  await policy({ stage: 'onSend' }, /p\.stage/)
  await policy({ routes: 'some' }, /p\.routes/)
  await policy({ key: { header: 'x' }, missingKey: 'skip' }, /p\.missingKey/)
  await policy({ missingKey: 'reject' }, /p\.missingKey": expected a policy whose key can be missing/)
  await policy({ onStoreError: 'ignore' }, /p\.onStoreError/)
  await policy({ expose: 'no' }, /p\.expose/)
  await policy({ allowList: 'a' }, /p\.allowList/)
  await policy({ allowList: ['a', 1] }, /p\.allowList\[1\]/)
  for (const per of ['week', 60, '']) await policy({ per }, /p\.per": expected one of 'second', 'minute', 'hour', 'day'/)
  for (const known of ['a', {}, 5]) await policy({ key: { header: 'x', known } }, /p\.key\.known": expected an array/)
  await policy({ key: { header: 'x', known: [1] } }, /p\.key\.known\[0\]/)
  for (const after of [0, 1.5, '5', undefined]) await policy({ lockout: { after, duration: 1 } }, /p\.lockout\.after": expected a whole number of at least 1/)
  for (const duration of [0, Infinity, '1h', undefined]) await policy({ lockout: { after: 1, duration } }, /p\.lockout\.duration/)
  for (const option of ['rate', 'lockout', 'body']) await policy({ [option]: null }, `limiter.policies.p.${option}": expected a value, or the option left out`)
  for (const lockout of [5, 'x']) await policy({ lockout }, /p\.lockout": expected an object/)
  await policy({ lockout: { after: 1, duration: 1, ban: 1 } }, /p\.lockout\.ban/)
  for (const answer of ['body', 'onExceeded']) {
    for (const wrong of ['sorry', {}]) await policy({ [answer]: wrong }, new RegExp(`p\\.${answer}": expected a function`))
  }
  await policy({ bursts: 1 }, /p\.bursts/)
  for (const name of ['', 'naïve', 'a\nb', 'x'.repeat(101)]) await refuses(t, { policies: { [name]: good } }, /a name of 1 to 100 printable ASCII characters/)
  await refuses(t, { policies: { p: null } }, /limiter\.policies\.p": expected an object/)
})

t.test('a bad option', async (t) => {
  const option = (part: object, message: RegExp) => refuses(t, { policies: { good }, ...part }, message)
  await refuses(t, {}, /limiter\.policies/)
  await refuses(t, { policies: {} }, /at least one policy/)
  await refuses(t, { policies: [good] }, /limiter\.policies/)
  await option({ redis: 'redis://localhost' }, /limiter\.redis": expected a constructed client of ioredis/)
  await option({ redis: null }, /limiter\.redis/)
  for (const storeTimeout of [0, Infinity, NaN, '1s']) await option({ storeTimeout }, /limiter\.storeTimeout/)
  for (const maxKeys of [0, 1.5, Infinity]) await option({ maxKeys }, /limiter\.maxKeys/)
  for (const ipv6Subnet of [0, 129, '64']) await option({ ipv6Subnet }, /limiter\.ipv6Subnet/)
  for (const prefix of ['', '{a}', 5]) await option({ prefix }, /limiter\.prefix/)
  await option({ allowList: [''] }, /limiter\.allowList\[0\]/)
  await option({ legacyHeaders: 1 }, /limiter\.legacyHeaders/)
  await option({ body: {} }, /limiter\.body/)
  await option({ waitTimeout: Infinity }, /limiter\.waitTimeout/)
  await option({ maxWaiting: -1 }, /limiter\.maxWaiting/)
  await option({ maxWaitingPerKey: -1 }, /limiter\.maxWaitingPerKey/)
  await option({ ambient: 'yes' }, /limiter\.ambient/)
  await option({ clock: {} }, /limiter\.clock/)
  await option({ policy: {} }, /limiter\.policy"/)
})

t.test('an option of @fastify/rate-limit that a bucket has no use for is refused by name, with what to use instead', async (t) => {
  for (const [name, value] of Object.entries({
    max: 1,
    timeWindow: 1,
    ban: 1,
    onBanReach: () => {},
    continueExceeding: true,
    exponentialBackoff: true,
    cache: 1,
    enableDraftSpec: true,
    addHeaders: {},
    errorResponseBuilder: () => {},
    keyGenerator: () => '',
    global: true,
    skipOnError: true,
    nameSpace: 'x',
    hook: 'preHandler'
  })) await refuses(t, { policies: { good }, [name]: value }, new RegExp(`^Option "limiter\\.${name}": expected (?!one of)`))
  for (const [name, instead] of Object.entries({
    max: 'rate, per and burst', timeWindow: 'per', keyGenerator: 'key', ban: 'lockout', whitelist: 'allowList', errorResponseBuilder: 'body', hook: 'stage', windowMs: 'per'
  })) await refuses(t, { policies: { p: { ...good, [name]: 1 } } }, new RegExp(`^Option "limiter\\.policies\\.p\\.${name}": expected in its place ${instead} of`))
  await refuses(t, { policies: { good }, rate: 5 }, /^Option "limiter\.rate": expected in its place an option of a policy/)
  await refuses(t, { policies: { good } }, /^Option "GET \/x: config\.limiter\.max": expected in its place rate, per and burst of a policy/, (app) => {
    app.get('/x', { config: { limiter: { max: 1 } as never } }, async () => 1)
  })
  const route = (rateLimit: object, message: RegExp) =>
    refuses(t, { policies: { good } }, message, (app) => { app.get('/x', { config: { rateLimit } }, async () => 1) })
  await route({ max: 1, ban: 3 }, /^Option "GET \/x: config\.rateLimit\.ban": expected in its place lockout of a policy/)
  await route({ max: 1, exponentialBackoff: true }, /exponentialBackoff/)
  await route({ max: 1, mx: 1 }, /config\.rateLimit\.mx/)
  for (const max of [0, -1, 1.5, NaN, '5']) await route({ max }, /config\.rateLimit\.max/)
  for (const timeWindow of [0, -1, NaN, 'soon', null]) await route({ max: 1, timeWindow }, /config\.rateLimit\.timeWindow/)
  await route({ hook: undefined, keyGenerator: 'ip' }, /config\.rateLimit\.keyGenerator/)
  await route({ hook: 'onSend' }, /config\.rateLimit\.hook/)
  await route({ ipv6Subnet: 0 }, /config\.rateLimit\.ipv6Subnet/)
  await route({ groupId: 5 }, /config\.rateLimit\.groupId/)
  await route({ skipOnError: 1 }, /config\.rateLimit\.skipOnError/)
  await route([] as object, /config\.rateLimit": expected an object/)
  await refuses(t, { policies: { good } }, /config\.rateLimit\.max": expected the same as on the other routes of "group g", 1/, (app) => {
    app.get('/a', { config: { rateLimit: { max: 1, groupId: 'g' } } }, async () => 1)
    app.get('/b', { config: { rateLimit: { max: 2, groupId: 'g' } } }, async () => 1)
  })
  await refuses(t, { policies: { 'GET /a': good } }, /a route or group that no policy is named after/, (app) => {
    app.get('/a', { config: { rateLimit: { max: 1 } } }, async () => 1)
  })
})

t.test('a bad config.limiter of a route', async (t) => {
  const route = (config: object, message: RegExp) =>
    refuses(t, { policies: { client, big: { rate: 1, burst: 10, routes: 'named' } } }, message, (app) => { app.get('/x', { config: { limiter: config } as never }, async () => 1) })
  for (const cost of [0, -1, 1.5, NaN, Infinity, '2']) await route({ cost }, /^Option "GET \/x: config\.limiter\.cost": expected a whole number of at least 1/)
  await route({ cost: 3 }, /config\.limiter\.cost": expected at most the burst of the policy "client", 2, received 3/)
  await route({ policies: ['huge'] }, /config\.limiter\.policies\[0\]": expected one of the policies client, big, received 'huge'/)
  await route({ policies: 'big' }, /config\.limiter\.policies": expected an array/)
  await route({ csot: 1 }, /config\.limiter\.csot/)
  await route({ body: 'sorry' }, /config\.limiter\.body": expected a function/)
  await route({ onExceeded: {} }, /config\.limiter\.onExceeded": expected a function/)
  await route(true as never, /config\.limiter/)
})

t.test('an onRoute hook that sets a limit too late for the limiter is an error, and one that comes before is heard', async (t) => {
  const policies = { all: { rate: NEVER, burst: 100 }, few: { rate: NEVER, burst: 1, routes: 'named' } }
  for (const [option, value] of [['limiter', { policies: ['few'] }], ['rateLimit', { max: 1 }]] as const) {
    const set = (app: FastifyInstance) => app.addHook('onRoute', (route) => { route.config = { ...route.config, [option]: value } as NonNullable<typeof route.config> })
    await refuses(t, { policies }, new RegExp(`^Option "GET /: config\\.${option}": expected set before`), (app) => {
      set(app)
      app.get('/', async () => 'ok')
    })
    const app = Fastify()
    t.teardown(() => app.close())
    set(app)
    await app.register(limiter, { policies } as LimiterOptions)
    app.get('/', async () => 'ok')
    t.same([(await app.inject('/')).statusCode, (await app.inject('/')).statusCode], [200, 429])
  }
})

t.test('what a policy\'s functions give for one request', async (t) => {
  const key = async (value: unknown): Promise<number> => {
    const { app } = await build(t, { policies: { p: { rate: NEVER, burst: 1, key: (() => value) as never } } })
    const statuses = [(await app.inject('/')).statusCode, (await app.inject('/')).statusCode]
    t.equal(statuses[1] === 429, statuses[0] === 200, 'never a bypass')
    return statuses[0]!
  }
  t.equal(await key('k'), 200)
  t.equal(await key(7), 200)
  t.equal(await key(7n), 200)
  t.equal(await key('x'.repeat(10 * 1024 * 1024)), 200)
  t.equal(await key('__proto__'), 200)
  t.equal(await key(Promise.resolve('later')), 200)
  for (const none of [undefined, null, '']) t.equal(await key(none), 401)
  for (const wrong of [{}, [], true, Symbol('s'), () => 'k']) t.equal(await key(wrong), 500)

  const numbers = async (part: object): Promise<number> => {
    const { app } = await build(t, { policies: { p: { rate: 1, burst: 1, ...part } } })
    return (await app.inject('/')).statusCode
  }
  for (const rate of [0, -1, NaN, '1', undefined]) t.equal(await numbers({ rate: () => rate }), 500, `rate ${rate}`)
  for (const burst of [0, 1.5, Infinity, undefined]) t.equal(await numbers({ burst: async () => burst }), 500, `burst ${burst}`)
  for (const wrong of [() => { throw new Error('mine') }, async () => { throw new Error('mine') }]) {
    t.equal(await numbers({ key: wrong }), 500)
    t.equal(await numbers({ rate: wrong }), 500)
    t.equal(await numbers({ allowList: wrong }), 500)
  }
  for (const cost of [0, -1, 0.5, 3, NaN, undefined]) {
    const { app } = await build(t, { policies: { client } }, (app) => { app.get('/', { config: { limiter: { cost: () => cost as number } } }, async () => 'ok') })
    t.equal((await app.inject('/')).statusCode, 500, `cost ${cost}`)
  }
})

t.test('what a key function throws reaches the error handler as it is', async (t) => {
  const { app } = await build(t, { policies: { p: { ...good, key: () => { throw Object.assign(new Error('mine'), { statusCode: 418 }) } } } })
  t.equal((await app.inject('/')).statusCode, 418)
})

t.test('a function that throws nothing, undefined or null, lets nobody pass', async (t) => {
  for (const nothing of [undefined, null]) {
    for (const part of ['key', 'rate', 'allowList']) {
      for (const wrong of [() => { throw nothing }, () => Promise.reject(nothing)]) {
        const { app } = await build(t, { policies: { p: { ...good, [part]: wrong } } })
        const response = await app.inject('/')
        t.match([response.statusCode, response.json()], [500, { code: 'FC_ERR_LIMIT_INVALID' }], `${part} ${nothing}`)
      }
    }
  }
})

t.test('keys of any length cost the same memory', async (t) => {
  const { app } = await build(t, { policies: { p: { rate: NEVER, burst: 1, key: ({ headers }) => `${'x'.repeat(300)}${headers['x-id']}` } } })
  const status = async (id: string): Promise<number> => (await app.inject({ url: '/', headers: { 'x-id': id } })).statusCode
  const keys: string[] = []
  const listener = (message: unknown): void => { keys.push((message as LimitRefused).key) }
  refused.subscribe(listener)
  t.teardown(() => refused.unsubscribe(listener))
  t.same([await status('a'), await status('a'), await status('b')], [200, 429, 200], 'and are still told apart')
  t.ok(keys.length === 1 && keys[0]!.length < 100, 'by their digest')
})

const warnings = (logged: Array<{ level: number, msg: string }>): string[] => logged.filter(({ level }) => level === 40).map(({ msg }) => msg)

t.test('trustProxy', async (t) => {
  const trusting = await build(t, { policies: { client } }, undefined, { trustProxy: true })
  t.match(warnings(trusting.logged), [/trustProxy: true a client can forge its address.*Fix: trustProxy: the addresses of your proxies/])
  const fallback = await build(t, { policies: { key: { ...good, key: { header: 'x' }, missingKey: 'address' } } }, undefined, { trustProxy: true })
  t.equal(warnings(fallback.logged).length, 1)
  await refuses(t, { policies: { client } }, /^Option "trustProxy": expected the addresses of your proxies/, undefined, { trustProxy: 1 })
  for (const [policies, trustProxy] of [[{ client }, '127.0.0.1'], [{ client }, false], [{ good }, true]] as const) {
    t.same(warnings((await build(t, { policies }, undefined, { trustProxy })).logged), [])
  }
})

t.test('behind a proxy that is trusted by its address, the client\'s own address counts', async (t) => {
  const { app } = await build(t, { policies: { client: { ...client, rate: NEVER, burst: 1 } } }, undefined, { trustProxy: '127.0.0.1' })
  const status = async (forwarded: string): Promise<number> => (await app.inject({ url: '/', headers: { 'x-forwarded-for': forwarded } })).statusCode
  t.same([await status('10.0.0.1'), await status('10.0.0.2'), await status('evil, 10.0.0.1'), await status('10.0.0.9, 10.0.0.2')], [200, 200, 429, 429])
})

t.test('a route that escapes is named', async (t) => {
  const logged: Array<{ level: number, msg: string, routes?: string[] }> = []
  const stream = { write: (line: string) => { logged.push(JSON.parse(line)) } }
  const app = Fastify({ logger: { stream } })
  t.teardown(() => app.close())
  app.get('/outside/*', async () => 'ok')
  await app.register(async (scope) => {
    await scope.register(limiter, { policies: { client } })
    scope.get('/inside', async () => 'ok')
  })
  await app.ready()
  t.same(logged.filter(({ level }) => level === 40).map(({ routes }) => routes), [['GET /outside/*', 'HEAD /outside/*']])
  t.match(warnings(logged), [/GET \/outside\/\*.* escape the limiter/])

  logged.length = 0
  const late = Fastify({ logger: { stream } })
  t.teardown(() => late.close())
  late.get('/early', async () => 'ok')
  await late.register(limiter, { policies: { user: { ...good, stage: 'preHandler', key: () => 'u' } } })
  late.get('/after', async () => 'ok')
  late.get('/off', { config: { limiter: false } }, async () => 'ok')
  await late.ready()
  t.same(logged.map(({ routes }) => routes), [['GET /early', 'HEAD /early']])

  t.same(warnings((await build(t, { policies: { client } }, (app) => {
    app.get('/off', { config: { limiter: false } }, async () => 'ok')
    app.get('/', async () => 'ok')
  })).logged), [], 'a route that says limiter: false doesn\'t escape')
})

t.test('memory in a cluster worker', async (t) => {
  const isWorker = Object.getOwnPropertyDescriptor(cluster, 'isWorker')!
  Object.defineProperty(cluster, 'isWorker', { value: true, configurable: true })
  t.teardown(() => Object.defineProperty(cluster, 'isWorker', isWorker))
  t.match(warnings((await build(t, { policies: { client } })).logged), [/cluster worker.*Fix: pass redis/])
  const redis = { evalsha: async () => [], eval: async () => [] }
  t.same(warnings((await build(t, { policies: { client }, redis })).logged), [])
})

t.test('@fastify/rate-limit is the limiter\'s to register', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(rateLimit, { global: false })
  await t.rejects((async () => { await app.register(limiter, { policies: { client } }) })(), { code: 'FC_ERR_OPTION_INVALID', message: /to be registered by the limiter only/ })
})

t.test('a later registration of @fastify/rate-limit works, and is warned of', async (t) => {
  const later = await build(t, { policies: { wide: { rate: 1000, burst: 1000 } } }, (app) => {
    app.register(rateLimit, { max: 1, timeWindow: '1 hour' }).after(() => { app.get('/', async () => 'ok') })
  })
  t.match(warnings(later.logged), [/@fastify\/rate-limit is registered a second time.*Fix: remove your registration/])
  t.same(await later.statuses('/', '/'), [200, 429])
  const inScope = await build(t, { policies: { client } }, (app) => {
    app.register(async (scope) => { await scope.register(rateLimit, { global: false }) })
  })
  t.equal(warnings(inScope.logged).length, 1)
  const without = await build(t, { policies: { client } }, (app) => {
    app.register(async (scope) => { scope.get('/', { config: { rateLimit: { max: 1 } } }, async () => 'ok') })
  })
  t.same(warnings(without.logged), [])
})

t.test('a decorator of the application\'s own is named as such', async (t) => {
  for (const name of ['limiter', 'rateLimit', 'createRateLimit']) {
    const app = Fastify()
    t.teardown(() => app.close())
    app.decorate(name, 1)
    await t.rejects((async () => { await app.register(limiter, { policies: { client } }) })(), { code: 'FC_ERR_OPTION_INVALID', message: /of your own'$/ }, name)
  }
})

t.test('the limiter is registered once', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(limiter, { policies: { client } })
  await t.rejects((async () => { await app.register(limiter, { policies: { client } }) })(), { code: 'FC_ERR_OPTION_INVALID', message: /to be registered once/ })
})

t.test('rate Infinity is no limit', async (t) => {
  const { statuses } = await build(t, { policies: { free: { rate: Infinity, burst: 1 } } })
  t.same(await statuses('/', '/', '/'), [200, 200, 200])
})
