// What an application's functions throw, reject with and give: a request that can't be checked is never served.
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { connect } from 'node:http2'
import { once } from 'node:events'
import t from 'tap'
import limiter, { type LimiterOptions } from '../../plugins/limiter/index.ts'
import { rejection, until } from '../helper.ts'
import { build, NEVER } from './helper.ts'

const good = { rate: NEVER, burst: 1 } as const
const values = [undefined, null, '', 0, -0, NaN, 0n, false, 'text', Symbol('thrown'), {}, Object.create(null), { statusCode: 200, message: 'fine' }]
const thrown = (value: unknown) => ({ then (): void { throw value } })
/** A query builder of a callable kind: a function that can be awaited. */
const callable = (value: unknown): unknown => Object.assign(() => {}, { then: (resolve: (value: unknown) => void) => resolve(value) })

/** The ways in which a function fails with a value. */
const ways = (value: unknown): Array<() => never> => [
  () => { throw value },
  () => Promise.reject(value) as never,
  () => thrown(value) as never,
  () => ({ then: (_resolve: unknown, reject: (value: unknown) => void) => { reject(value) } }) as never,
  () => ({ get then () { throw value } }) as never
]

/** An application's functions, each as the place where it is given. */
const places: Record<string, (failing: () => never) => { options?: Partial<LimiterOptions>, policy?: object, route?: object }> = {
  key: (failing) => ({ policy: { key: failing } }),
  'key of a later stage': (failing) => ({ policy: { key: failing, stage: 'preHandler' } }),
  rate: (failing) => ({ policy: { rate: failing } }),
  burst: (failing) => ({ policy: { burst: failing } }),
  'allowList of a policy': (failing) => ({ policy: { allowList: failing } }),
  allowList: (failing) => ({ options: { allowList: failing } }),
  cost: (failing) => ({ route: { limiter: { cost: failing } } }),
  'rateLimit.keyGenerator': (failing) => ({ route: { rateLimit: { max: 1, keyGenerator: failing } } }),
  'rateLimit.max': (failing) => ({ route: { rateLimit: { max: failing } } }),
  'rateLimit.timeWindow': (failing) => ({ route: { rateLimit: { max: 1, timeWindow: failing } } }),
  'rateLimit.allowList': (failing) => ({ route: { rateLimit: { max: 1, allowList: failing } } }),
  'rateLimit.keyGenerator, in preHandler': (failing) => ({ route: { rateLimit: { max: 1, keyGenerator: failing, hook: 'preHandler' } } })
}

for (const [place, at] of Object.entries(places)) {
  t.test(`${place}: whatever it throws, the request fails, and no later hook or handler runs`, async (t) => {
    for (const value of values) {
      for (const [index, failing] of ways(value).entries()) {
        const { options = {}, policy = {}, route = {} } = at(failing)
        const app = Fastify()
        let ran = 0
        await app.register(limiter, { policies: { p: { ...good, burst: 5, ...policy } as never }, ...options })
        // Callback style, promise style: Fastify takes both for success when they are told nothing.
        app.addHook('onRequest', (_request, _reply, done) => { if (!place.includes('preHandler') && !place.includes('later')) ran++; done() })
        app.get('/', { config: route as never }, async () => { ran++ })
        const { statusCode, json } = await app.inject('/')
        t.match({ ran, statusCode, body: json() as unknown }, { ran: 0, statusCode: 500, body: { code: 'FC_ERR_LIMIT_INVALID' } }, `${typeof value} ${String(index)}`)
        await app.close()
      }
    }
  })
}

t.test('the body of a 429: whatever its function throws, the request fails', async (t) => {
  for (const value of values) {
    for (const failing of ways(value)) {
      const app = Fastify()
      let ran = 0
      await app.register(limiter, { policies: { p: good }, body: failing })
      app.addHook('onRequest', (_request, _reply, done) => { ran++; done() })
      app.get('/', async () => 'ok')
      await app.inject('/')
      t.match([(await app.inject('/')).statusCode, ran], [500, 1])
      await app.close()
    }
  }
})

t.test('code sees an Error too, so that a hook that passes it to `done` fails its request', async (t) => {
  for (const value of values) {
    for (const failing of ways(value)) {
      const { app } = await build(t, { policies: { rate: { ...good, rate: failing }, list: { ...good, allowList: failing } } }, (app) => {
        app.addHook('onRequest', (_request, _reply, done) => { app.limiter.allow('rate').then(() => done(), done) })
        app.get('/', { config: { limiter: false } }, async () => 'served')
      })
      for (const policy of ['rate', 'list']) {
        for (const call of ['allow', 'reserve', 'wait', 'peek'] as const) t.match(await rejection(app.limiter[call](policy)), { code: 'FC_ERR_LIMIT_INVALID' })
      }
      t.equal((await app.inject('/')).statusCode, 500)
    }
  }
})

t.test('the functions of app.createRateLimit() reject with an Error too', async (t) => {
  for (const option of ['keyGenerator', 'max', 'timeWindow', 'allowList']) {
    for (const failing of ways(undefined)) {
      const { statuses } = await build(t, { policies: { p: { rate: 1000, burst: 1000 } } }, (app) => {
        const check = app.createRateLimit({ max: 1, [option]: failing })
        app.addHook('onRequest', (request, _reply, done) => { check(request).then(() => done(), done) })
        app.get('/', async () => 'served')
      })
      t.same(await statuses('/'), [500], option)
    }
  }
})

t.test('what was thrown is the cause of the error', async (t) => {
  const causes: unknown[] = []
  for (const value of [0, 'text', null]) {
    const { app } = await build(t, { policies: { p: { ...good, key: () => { throw value } } } }, (app) => {
      app.setErrorHandler((error: Error, _request, reply) => { causes.push(error.cause); reply.code(500).send('mine') })
      app.get('/', async () => 'ok')
    })
    await app.inject('/')
  }
  t.same(causes, [0, 'text', null])
})

t.test('what can be awaited is awaited, a function too, and never taken for true', async (t) => {
  const { statuses } = await build(t, {
    policies: { p: { ...good, key: () => callable('k') as never, allowList: () => callable(false) as never } },
    allowList: () => callable(false) as never
  })
  t.same(await statuses('/', '/'), [200, 429])
})

t.test('a lazy query that a function gives runs once', async (t) => {
  let runs = 0
  const query = (value: unknown) => ({ then: (resolve: (value: unknown) => void) => { runs++; resolve(value) } }) as never
  for (const policy of [{ key: () => query('k') }, { rate: () => query(1) }, { burst: () => query(1) }, { allowList: () => query(false) }]) {
    runs = 0
    const { statuses } = await build(t, { policies: { p: { ...good, ...policy } } })
    t.same(await statuses('/'), [200])
    t.equal(runs, 1)
  }
})

t.test('a key function that never settles serves nobody, and doesn\'t hold up closing', async (t) => {
  let asked = 0
  let ran = 0
  const { app } = await build(t, { policies: { p: { ...good, key: () => { asked++; return new Promise<string>(() => {}) } } } }, (app) => {
    app.get('/', async () => { ran++ })
  })
  const left = new AbortController()
  const pending = app.inject({ url: '/', signal: left.signal })
  await until(() => asked === 1, 'its key is asked for')
  left.abort()
  await t.rejects(pending)
  await app.close()
  t.same([asked, ran], [1, 0])
})

t.test('a huge value where a key, a cost or a rate was expected costs the event loop next to nothing, and its error is short', async (t) => {
  const huge: Record<string, number> = {}
  for (let i = 0; i < 200_000; i++) huge[`key ${i}`] = i
  const list = Array.from({ length: 500 }, () => huge)
  for (const value of [huge, list, 'x'.repeat(5e6), new Map(Object.entries(huge))]) {
    for (const part of ['rate', 'burst', 'cost', ...(typeof value === 'string' ? [] : ['key'])]) {
      const { app } = await build(t, { policies: { p: { ...good, [part === 'cost' ? 'burst' : part]: part === 'cost' ? 1 : () => value } } }, (app) => {
        app.get('/', { config: { limiter: { cost: part === 'cost' ? () => value as never : 1 } } }, async () => 'ok')
      })
      const began = process.cpuUsage()
      const { statusCode, body } = await app.inject('/')
      const { user, system } = process.cpuUsage(began)
      t.equal(statusCode, 500)
      t.ok(body.length < 1000, `${part}: ${body.length} characters`)
      t.ok(user + system < 400_000, `${part}: ${user + system} µs of CPU time`)
    }
  }
})

const as = (key: string) => ({ url: '/', headers: { 'x-api-key': key } })
const long = (tail: string): string => `${'x'.repeat(5000)}${tail}`

t.test('a long key: rate, burst and allow lists see it as it is, and a bucket is told by all of it', async (t) => {
  const seen = new Set<string>()
  const plan = (key: string): number => {
    seen.add(key)
    return key === long('pro') ? 3 : 1
  }
  const { statuses } = await build(t, {
    policies: { plan: { rate: NEVER, burst: plan, key: { header: 'x-api-key' }, allowList: [long('listed')] }, other: { ...good, burst: 100, key: { header: 'x-api-key' }, allowList: (key) => { seen.add(key); return false } } }
  })
  t.same(await statuses(as(long('pro')), as(long('pro')), as(long('pro')), as(long('pro'))), [200, 200, 200, 429])
  t.same(await statuses(as(long('a')), as(long('a')), as(long('b')), as(long('b'))), [200, 429, 200, 429])
  t.same(await statuses(as(long('listed')), as(long('listed'))), [200, 200])
  t.same([...seen].sort(), ['a', 'b', 'listed', 'pro'].map(long))
})

t.test('a long key of config.rateLimit: max and the allow list see it as it is', async (t) => {
  const { statuses } = await build(t, { policies: { p: { rate: 1000, burst: 1000 } } }, (app) => {
    const keyGenerator = ({ headers }: FastifyRequest): string => String(headers['x-api-key'])
    app.get('/', { config: { rateLimit: { max: (_request, key) => key === long('pro') ? 2 : 1, timeWindow: '1 hour', keyGenerator, allowList: [long('vip')] } } }, async () => 'ok')
    app.get('/hook', { onRequest: app.rateLimit({ max: (_request, key) => key === long('pro') ? 2 : 1, timeWindow: '1 hour', keyGenerator, allowList: [long('vip')] }) }, async () => 'ok')
  })
  for (const url of ['/', '/hook']) {
    const asked = (tail: string) => ({ ...as(long(tail)), url })
    t.same(await statuses(asked('pro'), asked('pro'), asked('pro'), asked('free'), asked('free'), asked('vip'), asked('vip')), [200, 200, 429, 200, 429, 200, 200])
  }
})

t.test('a long key is the same for code as for requests', async (t) => {
  const { app } = await build(t, { policies: { plan: { rate: NEVER, burst: (key) => key === long('pro') ? 3 : 1, key: { header: 'x-api-key' } } } })
  await app.inject(as(long('pro')))
  t.match(await app.limiter.peek('plan', long('pro')), { tokens: 2, burst: 3 })
})

t.test('a request without its key: the functions see its address, as a database can store it', async (t) => {
  const seen: string[] = []
  const { statuses } = await build(t, { policies: { plan: { rate: NEVER, burst: (key) => { seen.push(key); return 1 }, key: { header: 'x-api-key' }, missingKey: 'address' } } })
  t.same(await statuses('/', '/', as('127.0.0.1')), [200, 429, 200], 'and its bucket is not that of a key that reads like it')
  t.same(seen, ['127.0.0.1', '127.0.0.1', '127.0.0.1'])
})

t.test('no key can be made to look like another bucket\'s', async (t) => {
  const { app, statuses } = await build(t, {
    policies: { plan: { ...good, key: (request) => (request.query as { k?: string }).k, missingKey: 'address' } }
  }, undefined, { trustProxy: '127.0.0.1' })
  const { createHash } = await import('node:crypto')
  const victim = 'v'.repeat(300)
  const digest = createHash('sha256').update(victim, 'utf16le').digest('hex')
  const forged = [`sha256:${digest}`, `key:${digest}`, digest]
  await statuses(...forged.map((address) => ({ url: '/', headers: { 'x-forwarded-for': address } })))
  await statuses(...forged.map((key) => `/?k=%00${key}`), '/?k=%00127.0.0.1', '/?k=%00address:127.0.0.1')
  t.equal((await app.limiter.peek('plan', victim)).tokens, 1, 'the long key of another client')
  t.same(await statuses('/'), [200], 'the address of another client')
})

t.test('app.limiter honours a policy\'s allow list', async (t) => {
  const asked: unknown[] = []
  const { app } = await build(t, {
    policies: {
      list: { ...good, key: { header: 'x-api-key' }, allowList: ['vip'] },
      fn: { ...good, key: { header: 'x-api-key' }, allowList: async (key, request) => { asked.push(request?.url); return key === 'vip' } },
      address: { ...good, key: 'address', allowList: ['10.0.0.7', '2001:db8::1'] }
    }
  }, (app) => { app.get('/', { config: { limiter: false } }, async () => [await app.limiter.allow('fn', 'vip', 1), await app.limiter.allow('fn', 'vip', 1)]) })
  for (const [policy, key] of [['list', 'vip'], ['fn', 'vip'], ['address', '10.0.0.7'], ['address', '::ffff:10.0.0.7'], ['address', '2001:DB8::1']] as const) {
    t.same([await app.limiter.allow(policy, key), await app.limiter.allow(policy, key)], [true, true], `${policy} ${key}`)
    t.match(await app.limiter.reserve(policy, key), { ok: true, delay: 0 })
    t.match(await app.limiter.peek(policy, key), { tokens: Infinity, burst: Infinity, wait: 0 })
    await app.limiter.wait(policy, key, { timeout: 0 })
  }
  for (const [policy, key] of [['list', 'a'], ['fn', 'a'], ['address', '10.0.0.8'], ['address', '2001:db8::2']] as const) {
    t.same([await app.limiter.allow(policy, key), await app.limiter.allow(policy, key)], [true, false], `${policy} ${key}`)
  }
  asked.length = 0
  t.same((await app.inject('/')).json(), [true, true])
  t.same(asked, ['/', '/'], 'and hands it the current request, if there is one')
})

t.test('key: { header: \'host\' } over HTTP/2, whose clients send :authority', async (t) => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(limiter, { policies: { host: { ...good, key: { header: 'Host' } } } })
  app.get('/', async () => 'ok')
  const address = await app.listen({ port: 0 })
  const session = connect(address)
  t.teardown(() => session.close())
  const status = async (headers: Record<string, string>): Promise<unknown> => {
    const stream = session.request({ ':path': '/', ...headers })
    const [response] = await once(stream, 'response') as [Record<string, unknown>]
    stream.resume()
    return response[':status']
  }
  t.same([await status({ ':authority': 'a.example' }), await status({ ':authority': 'a.example' }), await status({ ':authority': 'b.example' })], [200, 429, 200])
  t.equal(await status({ ':authority': 'A.Example' }), 429, 'a host name\'s case makes no new client')
})
