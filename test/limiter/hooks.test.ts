import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { get, ServerResponse, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { refused, type LimitRefused } from '../../plugins/limiter/channels.ts'
import { printedRoutes } from '../../plugins/limiter/boot-checks.ts'
import { build, NEVER } from './helper.ts'

const from = (remoteAddress: string, url = '/') => ({ url, remoteAddress })
const head = (url: string) => ({ method: 'HEAD', url }) as const
const post = (url: string) => ({ method: 'POST', url }) as const
const client = { rate: 1, burst: 2, key: 'address' } as const

t.test('a bucket a client: the burst, then 429, then the rate', async (t) => {
  const { app, clock, statuses } = await build(t, { policies: { client } })
  t.same(await statuses('/', '/', '/'), [200, 200, 429])
  t.equal((await app.inject(from('10.0.0.2'))).statusCode, 200, 'another client')
  clock.time += 1000
  t.same(await statuses('/', '/'), [200, 429])
})

t.test('a proper 429', async (t) => {
  const { app } = await build(t, { policies: { client: { rate: 0.1, burst: 1, key: 'address' } } })
  await app.inject('/')
  const response = await app.inject('/')
  t.equal(response.statusCode, 429)
  t.match(response.headers, {
    'retry-after': '10',
    'cache-control': 'no-store',
    'ratelimit-policy': '"client";q=1;w=10',
    ratelimit: '"client";r=0;t=10'
  })
  t.same(response.json(), {
    statusCode: 429, code: 'FC_ERR_LIMITED', error: 'Too Many Requests', message: 'The limit "client" is used up, try again in 10 s', policy: 'client', retryAfter: 10
  })
})

t.test('Retry-After is never early and never more than a second late', async (t) => {
  const shapes = [[1, 1], [0.3, 2], [7, 3], [1000, 1], [1 / 3, 5], [0.0123, 10]] as const
  for (const [rate, burst] of shapes) {
    const { app, clock } = await build(t, { policies: { client: { rate, burst, key: 'address' } } })
    for (let step = 0; step < 60; step++) {
      clock.time += 137.37 * step / rate / 10
      const response = await app.inject('/')
      if (response.statusCode === 200) continue
      const asked = clock.time
      const seconds = Number(response.headers['retry-after'])
      if (seconds > 1) {
        clock.time = asked + (seconds - 1) * 1000 - 1e-3
        t.equal((await app.inject('/')).statusCode, 429, 'not more than a second late')
      }
      clock.time = asked + seconds * 1000
      t.equal((await app.inject('/')).statusCode, 200, `at ${rate}/s, after ${seconds} s`)
    }
  }
})

t.test('several policies: one decision, no token taken on refusal', async (t) => {
  const { app, statuses } = await build(t, {
    policies: {
      service: { rate: NEVER, burst: 4, expose: false },
      client: { rate: NEVER, burst: 2, key: 'address' }
    }
  })
  t.same(await statuses('/', '/', '/', '/', '/', '/'), [200, 200, 429, 429, 429, 429])
  t.ok((await app.limiter.peek('service')).tokens >= 2, 'the refused took nothing from the service')
  t.same(await statuses(from('10.0.0.2'), from('10.0.0.2'), from('10.0.0.3')), [200, 200, 429])
  const hidden = await app.inject(from('10.0.0.4'))
  t.notMatch(JSON.stringify([hidden.headers, hidden.body]), /service/, 'a policy that isn\'t exposed is named nowhere')
  t.match(hidden.json(), { message: /^Too many requests/, retryAfter: Number })
  t.equal(hidden.headers['ratelimit'], '"client";r=2;t=0', 'full already')
})

t.test('Retry-After of the later stage: the earlier one has to be passed again', async (t) => {
  let authentication = 0
  const { app, clock } = await build(t, {
    policies: {
      client: { rate: 0.1, burst: 2, key: 'address' },
      user: {
        rate: 1,
        burst: 1,
        stage: 'preHandler',
        key: async () => {
          clock.time += authentication
          return 'ada'
        }
      }
    }
  })
  await app.inject('/')
  authentication = 900
  const response = await app.inject('/')
  authentication = 0
  t.match([response.statusCode, response.json()], [429, { policy: 'user', retryAfter: 10 }], 'not 1: the client has spent both of its tokens')
  t.equal(response.headers['retry-after'], '10')
  const asked = clock.time
  clock.time = asked + 9_000
  t.equal((await app.inject('/')).statusCode, 429, 'not more than a second late')
  clock.time = asked + 10_000
  t.equal((await app.inject('/')).statusCode, 200)
})

t.test('the longest wait counts', async (t) => {
  const { app } = await build(t, { policies: { a: { rate: 1, burst: 1 }, b: { rate: 0.1, burst: 1 }, c: { rate: 0.5, burst: 1 } } })
  await app.inject('/')
  const response = await app.inject('/')
  t.match(response.json(), { policy: 'b', retryAfter: 10 })
  t.equal(response.headers['ratelimit'], '"a";r=0;t=1, "b";r=0;t=10, "c";r=0;t=2')
})

t.test('names with quotes and spaces are escaped', async (t) => {
  const { app } = await build(t, { policies: { 'a "quoted\\ name': client } })
  const { headers } = await app.inject('/')
  t.equal(headers['ratelimit-policy'], '"a \\"quoted\\\\ name";q=2;w=2')
})

t.test('legacy fields by option, of the tightest policy', async (t) => {
  const { app } = await build(t, { legacyHeaders: true, policies: { wide: { rate: 10, burst: 100 }, client: { rate: 0.1, burst: 4, key: 'address' } } })
  t.match((await app.inject('/')).headers, { 'x-ratelimit-limit': '4', 'x-ratelimit-remaining': '3', 'x-ratelimit-reset': '10' })
  const plain = await build(t, { policies: { client } })
  t.notOk('x-ratelimit-limit' in (await plain.app.inject('/')).headers)
})

t.test('404s are limited, HEAD counts with GET', async (t) => {
  const { statuses } = await build(t, { policies: { client: { ...client, burst: 3 } } })
  t.same(await statuses('/nope', post('/nope'), head('/'), '/nope', '/'), [404, 404, 200, 429, 429])
})

t.test('a 404 of an inner scope is limited too', async (t) => {
  const { statuses } = await build(t, { policies: { client } }, (app) => {
    app.register(async (scope) => { scope.setNotFoundHandler((_request, reply) => { reply.code(404).send('mine') }) }, { prefix: '/inner' })
  })
  t.same(await statuses('/inner/x', '/inner/x', '/inner/x'), [404, 404, 429])
})

t.test('key: a header', async (t) => {
  const { app } = await build(t, { policies: { key: { rate: NEVER, burst: 1, key: { header: 'X-API-Key' } } } })
  const ask = async (key?: string) => (await app.inject({ url: '/', headers: key === undefined ? {} : { 'x-api-key': key } }))
  t.equal((await ask('a')).statusCode, 200)
  t.equal((await ask('a')).statusCode, 429)
  t.equal((await ask('b')).statusCode, 200)
  const missing = await ask()
  t.equal(missing.statusCode, 401)
  t.match(missing.json(), { code: 'FC_ERR_LIMIT_KEY_MISSING' })
  t.equal((await ask('')).statusCode, 401, 'an empty one is none')
})

t.test('missingKey: \'address\' limits by address, and nobody can spend that bucket by sending an address as a key', async (t) => {
  const { statuses } = await build(t, { policies: { key: { rate: NEVER, burst: 1, key: { header: 'x-api-key' }, missingKey: 'address' } } })
  t.same(await statuses({ url: '/', headers: { 'x-api-key': '127.0.0.1' } }, '/', '/', from('10.0.0.9')), [200, 200, 429, 200])
})

t.test('IPv6 is grouped by prefix, IPv4-mapped is IPv4', async (t) => {
  const policies = { client: { rate: NEVER, burst: 1, key: 'address' } } as const
  const { statuses } = await build(t, { policies })
  t.same(await statuses(from('2001:db8:1:2:a::1'), from('2001:db8:1:2:b::2'), from('2001:db8:1:3::1')), [200, 429, 200])
  t.same(await statuses(from('::ffff:10.0.0.1'), from('10.0.0.1')), [200, 429])
  const wide = await build(t, { policies, ipv6Subnet: 48 })
  t.same(await wide.statuses(from('2001:db8:1:2::1'), from('2001:db8:1:3::1'), from('2001:db8:2::1')), [200, 429, 200])
})

t.test('a port that a proxy writes beside the address makes no new client', async (t) => {
  const { statuses } = await build(t, { policies: { client: { rate: NEVER, burst: 1, key: 'address' } } }, undefined, { trustProxy: '127.0.0.1' })
  const forwarded = (address: string) => ({ url: '/', headers: { 'x-forwarded-for': address } })
  t.same(await statuses(forwarded('10.0.0.1'), forwarded('10.0.0.1:1111'), forwarded('10.0.0.1:2222')), [200, 429, 429])
  t.same(await statuses(forwarded('[2001:db8::1]:1111'), forwarded('[2001:db8::2]:2222'), forwarded('2001:db8::3')), [200, 429, 429])
})

t.test('10,000 spoofed X-Forwarded-For without trustProxy: 1 bucket', async (t) => {
  const { app } = await build(t, { policies: { client: { rate: NEVER, burst: 1, key: 'address' } } }, undefined, { logger: false })
  let passed = 0
  for (let i = 0; i < 10_000; i++) {
    const headers = { 'x-forwarded-for': `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` }
    if ((await app.inject({ url: '/', headers })).statusCode === 200) passed++
  }
  t.equal(passed, 1)
})

t.test('key: a user, known only after authentication, even if that is a preHandler of the route', async (t) => {
  const { statuses } = await build(t, {
    policies: { user: { rate: NEVER, burst: 1, stage: 'preHandler', key: (request) => (request as unknown as { user?: string }).user } }
  }, (app) => {
    app.decorateRequest('user', null)
    app.get('/', { preHandler: async (request) => { Object.assign(request, { user: request.headers['authorization'] }) } }, async () => 'ok')
  })
  const as = (authorization: string) => ({ url: '/', headers: { authorization } })
  t.same(await statuses(as('ada'), as('ada'), as('bob'), '/'), [200, 429, 200, 401])
})

t.test('both stages: one list of fields', async (t) => {
  const { app } = await build(t, { policies: { client, user: { rate: 1, burst: 5, stage: 'preHandler', key: async () => 'ada' } } })
  const { headers } = await app.inject('/')
  t.equal(headers['ratelimit'], '"client";r=1;t=1, "user";r=4;t=1')
  t.equal(headers['ratelimit-policy'], '"client";q=2;w=2, "user";q=5;w=5')
})

t.test('a key from a client that looks like one of our own making is another key', async (t) => {
  const { statuses } = await build(t, {
    policies: { key: { rate: NEVER, burst: 1, key: (request) => (request.query as { k?: string }).k, missingKey: 'address' } }
  })
  t.same(await statuses('/?k=%00127.0.0.1', '/', '/'), [200, 200, 429])
})

t.test('what is no Promise but can be awaited is awaited, and never taken for true', async (t) => {
  const later = (value: unknown) => ({ then: (resolve: (value: unknown) => void) => { queueMicrotask(() => resolve(value)) } })
  const { statuses } = await build(t, {
    policies: { key: { rate: NEVER, burst: 1, key: () => later('k') as never, allowList: () => later(false) as never } },
    allowList: () => later(false) as never
  })
  t.same(await statuses('/', '/'), [200, 429])
})

t.test('a policy that isn\'t exposed isn\'t named where its key is missing either', async (t) => {
  const { app } = await build(t, { policies: { secret: { rate: 1, burst: 1, key: { header: 'x-api-key' }, expose: false } } })
  const { statusCode, body } = await app.inject('/')
  t.equal(statusCode, 401)
  t.notMatch(body, /secret/)
})

t.test('tiers', async (t) => {
  const tiers: Record<string, number> = { free: 1, pro: 3 }
  const tier = (key: string): number => tiers[key] ?? 1
  const { statuses, app } = await build(t, {
    policies: { tier: { rate: tier, burst: async (key) => tier(key), key: { header: 'x-api-key' } }, enterprise: { rate: (key) => key === 'big' ? Infinity : 1, burst: 1, key: { header: 'x-api-key' } } }
  })
  const as = (key: string) => ({ url: '/', headers: { 'x-api-key': key } })
  t.same(await statuses(as('free'), as('free')), [200, 429])
  tiers['pro'] = 3
  t.equal((await app.inject(as('pro'))).headers['ratelimit-policy'], '"tier";q=3;w=1, "enterprise";q=1;w=1')
  t.equal((await app.inject(as('big'))).headers['ratelimit-policy'], '"tier";q=1;w=1', 'no limit, no field')
})

t.test('allow lists', async (t) => {
  const policies = { client: { rate: NEVER, burst: 1, key: 'address', allowList: ['10.0.0.7', '2001:db8::1'] } } as const
  const { statuses } = await build(t, { policies, allowList: ['10.0.0.8', '2001:db8:0:1::1'] })
  t.same(await statuses(from('10.0.0.7'), from('10.0.0.7'), from('10.0.0.8'), from('10.0.0.8'), from('10.0.0.9'), from('10.0.0.9')), [200, 200, 200, 200, 200, 429])
  t.same(await statuses(from('2001:db8:0:1::1'), from('2001:db8:0:1::1'), from('2001:db8:0:1::2'), from('2001:db8:0:1::2')), [200, 200, 200, 429], 'one address, not its neighbours')

  const functions = await build(t, {
    policies: { key: { rate: NEVER, burst: 1, key: { header: 'x-api-key' }, allowList: async (key) => key === 'vip' } },
    allowList: (request) => request.headers['user-agent'] === 'monitor'
  })
  const as = (headers: Record<string, string>) => ({ url: '/', headers })
  t.same(await functions.statuses(as({ 'x-api-key': 'vip' }), as({ 'x-api-key': 'vip' }), as({ 'x-api-key': 'a' }), as({ 'x-api-key': 'a' })), [200, 200, 200, 429])
  t.same(await functions.statuses(as({ 'user-agent': 'monitor' })), [200], 'exempt before its missing key is looked at')
})

t.test('config.limiter: false, cost, policies', async (t) => {
  const { app, statuses } = await build(t, {
    policies: { client: { rate: NEVER, burst: 10, key: 'address' }, strict: { rate: NEVER, burst: 2, key: 'address', routes: 'named' } }
  }, (app) => {
    app.get('/free', { config: { limiter: false } }, async () => 'ok')
    app.get('/dear', { config: { limiter: { cost: 5 } } }, async () => 'ok')
    app.get('/strict', { config: { limiter: { policies: ['strict'] } } }, async () => 'ok')
    app.get('/sized', { config: { limiter: { cost: (request) => Number((request.query as { n: string }).n) } } }, async () => 'ok')
  })
  t.same(await statuses('/free', '/free'), [200, 200])
  t.notOk('ratelimit' in (await app.inject('/free')).headers)
  t.same(await statuses('/dear', '/dear', '/dear'), [200, 200, 429])
  const strict = (ip: string) => from(ip, '/strict')
  t.same(await statuses(strict('10.0.0.2'), strict('10.0.0.2'), strict('10.0.0.2')), [200, 200, 429])
  t.equal((await app.limiter.peek('client', '10.0.0.2')).tokens, 8, 'the policies for all routes apply there too')
  t.same(await statuses(from('10.0.0.3', '/sized?n=7'), from('10.0.0.3', '/sized?n=4'), from('10.0.0.3', '/sized?n=3')), [200, 429, 200])
})

t.test('config.rateLimit of @fastify/rate-limit, as a bucket', async (t) => {
  const { app, clock, statuses } = await build(t, { policies: { client: { rate: 1000, burst: 1000, key: 'address' } } }, (app) => {
    app.get('/window', { config: { rateLimit: { max: 2, timeWindow: '10 seconds' } } }, async () => 'ok')
    app.get('/other', { config: { rateLimit: { max: 2, timeWindow: 10_000 } } }, async () => 'ok')
    app.get('/a', { config: { rateLimit: { max: 2, timeWindow: 10_000, groupId: 'g' } } }, async () => 'ok')
    app.post('/b', { config: { rateLimit: { max: 2, timeWindow: 10_000, groupId: 'g' } } }, async () => 'ok')
    app.get('/off', { config: { rateLimit: false } }, async () => 'ok')
    app.get('/keyed', {
      config: {
        rateLimit: {
          max: async (_request, key) => key === 'pro' ? 2 : 1, timeWindow: '1 hour', keyGenerator: ({ headers }) => String(headers['x-id']), hook: 'preHandler', allowList: ['vip']
        }
      }
    }, async () => 'ok')
  })
  const route = printedRoutes(app).find(({ name }) => name === 'GET /window')!
  t.equal((JSON.parse(route.hooks.match(/onRequest\) (\[.*?\])/)![1]!) as string[]).at(-1), 'limiterOnRequest()', 'without a hook of @fastify/rate-limit\'s own')
  t.same(await statuses('/window', head('/window'), '/window'), [200, 200, 429], 'HEAD counts with GET')
  t.equal((await app.inject('/window')).headers['retry-after'], '5')
  clock.time += 5000
  t.same(await statuses('/window', '/window'), [200, 429], 'a token flows back each 5 s: no window')
  t.same(await statuses('/other', '/other', '/other'), [200, 200, 429], 'routes count apart')
  t.same(await statuses('/a', post('/b'), '/a', post('/b')), [200, 200, 429, 429], 'a group counts together')
  t.notOk('ratelimit' in (await app.inject('/off')).headers)
  const as = (id: string) => ({ url: '/keyed', headers: { 'x-id': id } })
  t.same(await statuses(as('free'), as('free'), as('pro'), as('pro'), as('pro'), as('vip'), as('vip')), [200, 429, 200, 200, 429, 200, 200])
  t.equal((await app.inject('/a')).headers['ratelimit-policy'], '"group g";q=2;w=10', 'in place of the limit for all routes')
})

t.test('app.rateLimit() and app.createRateLimit() work, on buckets', async (t) => {
  let state: unknown
  const { app, clock, statuses } = await build(t, { policies: { client: { rate: 1000, burst: 1000 } } }, (app) => {
    app.get('/hook', { onRequest: app.rateLimit({ max: 2, timeWindow: 4000 }) }, async () => 'ok')
    const check = app.createRateLimit({ max: 3, timeWindow: 3000 })
    app.get('/check', async (request) => { state = await check(request); return 'ok' })
    const none = app.createRateLimit({ max: 0, timeWindow: 3000 })
    app.get('/none', async (request) => { state = await none(request); return 'ok' })
  })
  t.same(await statuses('/hook', '/hook', '/hook'), [200, 200, 429])
  t.equal((await app.inject('/hook')).headers['retry-after'], '2')
  clock.time += 2000
  t.same(await statuses('/hook', '/hook'), [200, 429])
  await app.inject('/check')
  t.match(state, { isExceeded: false, remaining: 2, ttl: 1000, max: 3 })
  await statuses('/check', '/check', '/check')
  t.match(state, { isExceeded: true, remaining: 0, ttl: 1000 })
  await app.inject('/none')
  t.match(state, { isExceeded: true })
})

t.test('app.rateLimit() and config.rateLimit: the same addresses, keys and numbers as everywhere', async (t) => {
  const window = { max: 1, timeWindow: '1 hour' }
  const nonsense = { '/nan': { max: () => NaN, skipOnError: true }, '/infinite': { timeWindow: () => Infinity }, '/object': { keyGenerator: () => ({}) } }
  const { app, statuses } = await build(t, { policies: { client: { rate: 1000, burst: 1000 } } }, (app) => {
    app.get('/hook', { onRequest: app.rateLimit(window) }, async () => 'ok')
    app.get('/prefix', { config: { rateLimit: { ...window, ipv6Subnet: 56 } } }, async () => 'ok')
    app.get('/subnet', { onRequest: app.rateLimit({ ...window, ipv6Subnet: 48 }) }, async () => 'ok')
    for (const [url, options] of Object.entries(nonsense)) app.get(url, { onRequest: app.rateLimit({ ...window, ...options } as object) }, async () => 'ok')
  }, { trustProxy: ['127.0.0.1'] })
  const as = (url: string, address: string) => ({ url, headers: { 'x-forwarded-for': address } })
  for (const url of ['/hook', '/prefix']) {
    t.same(await statuses(as(url, '10.0.0.1:1'), as(url, '10.0.0.1:2')), [200, 429], 'a port makes no new client')
    t.same(await statuses(as(url, '[2001:db8::1]:1'), as(url, '[2001:db8::2]:2')), [200, 429])
  }
  t.same(await statuses(as('/subnet', '2001:db8:0:1::1'), as('/subnet', '2001:db8:0:2::1')), [200, 429])
  for (const url of Object.keys(nonsense)) t.match((await app.inject(url)).json(), { statusCode: 500, code: 'FC_ERR_LIMIT_INVALID' }, url)
})

t.test('a client on a Unix socket, which has no address', async (t) => {
  const { app } = await build(t, { policies: { client: { rate: 1000, burst: 1000 } } }, (app) => {
    app.get('/hook', { onRequest: app.rateLimit({ max: 1 }) }, async () => 'ok')
    app.get('/prefix', { config: { rateLimit: { max: 1, ipv6Subnet: 56 } } }, async () => 'ok')
  })
  // A path of more than 107 characters is none for a socket: t.testdir() would depend on where the project is.
  const folder = mkdtempSync(join(tmpdir(), 'fc-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const socketPath = join(folder, 'socket')
  await app.listen({ path: socketPath })
  for (const path of ['/hook', '/prefix']) {
    for (const expected of [200, 429]) {
      const [response] = await once(get({ socketPath, path, agent: false }), 'response') as [IncomingMessage]
      t.equal(response.resume().statusCode, expected, path)
    }
  }
})

t.test('a route that was declared before the limiter', async (t) => {
  const { default: Fastify } = await import('fastify')
  const { default: limiter } = await import('../../plugins/limiter/index.ts')
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/plain', async () => 'ok')
  app.get('/own', { config: { rateLimit: { max: 1, timeWindow: '1 hour', groupId: 'g' } } }, async () => 'ok')
  app.get('/off', { config: { limiter: false } }, async () => 'ok')
  app.get('/late', { config: { rateLimit: { max: 1, timeWindow: '1 hour', hook: 'preHandler' } } }, async () => 'ok')
  await app.register(limiter, { policies: { client: { rate: NEVER, burst: 4, key: 'address' } } })
  const status = async (url: string): Promise<number> => (await app.inject(url)).statusCode
  t.same([await status('/own'), await status('/own')], [200, 429])
  t.same([await status('/plain'), await status('/plain'), await status('/plain'), await status('/plain'), await status('/plain')], [200, 200, 200, 200, 429])
  t.same([await status('/off'), await status('/off')], [200, 200])
  t.equal(await status('/late'), 500, 'a preHandler comes too late: it fails rather than pass')
})

t.test('the body by option', async (t) => {
  const { app } = await build(t, {
    policies: { client: { rate: NEVER, burst: 1, key: 'address' } },
    body: (request, error) => ({ problem: `${request.url} ${error.policy} ${error.retryAfter > 0}` })
  })
  await app.inject('/')
  t.same((await app.inject('/')).json(), { problem: '/ client true' })
})

t.test('a body that is asynchronous, or fails', async (t) => {
  const bodies = async (body: () => unknown): Promise<unknown[]> => {
    let served = 0
    const { app } = await build(t, { policies: { client: { ...client, burst: 1 } }, body }, (app) => { app.get('/', async () => { served++ }) })
    await app.inject('/')
    const { statusCode, payload } = await app.inject('/')
    return [served, statusCode, payload.slice(0, 9)]
  }
  t.same(await bodies(async () => ({ mine: 1 })), [1, 429, '{"mine":1'])
  for (const error of [new Error('mine'), undefined]) {
    t.match(await bodies(async () => { throw error }), [1, 500])
    t.match(await bodies(() => { throw error }), [1, 500], 'neither a crash nor a request let through')
  }
})

t.test('a refusal is published, and logged sampled', async (t) => {
  const { app, logged } = await build(t, { policies: { client: { rate: 0.1, burst: 1, key: 'address' } } })
  const messages: LimitRefused[] = []
  const listener = (message: unknown): void => { messages.push(message as LimitRefused) }
  refused.subscribe(listener)
  t.teardown(() => refused.unsubscribe(listener))
  for (let i = 0; i < 5; i++) await app.inject('/')
  t.equal(messages.length, 4)
  t.match(messages[0], { policy: 'client', key: '127.0.0.1', cost: 1, retryAfter: 10, requestId: String })
  t.equal(logged.filter(({ level }) => level > 30).length, 1)
  await app.close()
  t.same(logged.filter(({ level }) => level > 30).map(({ code, policy, refused }) => [code, policy, refused]), [['FC_ERR_LIMITED', 'client', 1], ['FC_ERR_LIMITED', 'client', 3]])
})

t.test('an encoding of the URL or a trailing query doesn\'t make a new bucket of a route', async (t) => {
  const { statuses } = await build(t, { policies: { client: { rate: 1000, burst: 1000 } } }, (app) => {
    app.get('/items/:id', { config: { rateLimit: { max: 2, timeWindow: '1 hour' } } }, async () => 'ok')
  })
  t.same(await statuses('/items/1?a', '/items/%32', '/items/3'), [200, 200, 429])
})

t.test('a refused upgrade is answered, and its connection closed: a plugin for WebSockets that comes later doesn\'t see it', async (t) => {
  const failing = { rate: 1, burst: 1, key: () => { throw new Error('mine') } }
  const missing = { rate: 1, burst: 1, key: { header: 'x-api-key' } }
  for (const [policies, expected] of [[{ client: { ...client, burst: 1 } }, 429], [{ missing }, 401], [{ failing }, 500]] as const) {
    for (const stage of ['onRequest', 'preHandler'] as const) {
      const { app } = await build(t, { policies: Object.fromEntries(Object.entries(policies).map(([name, policy]) => [name, { ...policy, stage }])) })
      await app.inject('/')
      await app.listen({ port: 0 })
      // What @fastify/websocket does.
      app.server.on('upgrade', (request, socket) => {
        const response = new ServerResponse(request)
        response.assignSocket(socket as Socket)
        app.routing(request, response)
      })
      const socket = connect((app.server.address() as AddressInfo).port)
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      let answer = ''
      for await (const chunk of socket) answer += String(chunk)
      t.match(answer, new RegExp(`^HTTP/1\\.1 ${expected} [^]*connection: close`, 'i'))
      await app.close()
    }
  }
})
