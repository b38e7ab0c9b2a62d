// What a policy may say: its period, its known keys, its lockout, and its answers to refusals.
import t from 'tap'
import { refused } from '../../plugins/limiter/channels.ts'
import type { LimitRefused, Policy } from '../../plugins/limiter/index.ts'
import { build, NEVER } from './helper.ts'

t.test('a rate refers to a second, a minute, an hour or a day', async (t) => {
  for (const [per, seconds] of [[undefined, 1], ['second', 1], ['minute', 60], ['hour', 3_600], ['day', 86_400]] as const) {
    for (const rate of [2, () => 2]) {
      const policy: Policy = { rate, burst: 1, ...(per === undefined ? {} : { per }) }
      const { app, clock, statuses } = await build(t, { policies: { policy } })
      t.same(await statuses('/', '/'), [200, 429])
      t.equal((await app.inject('/')).headers['retry-after'], String(Math.ceil(seconds / 2)), `2 per ${per}`)
      clock.time += seconds * 500
      t.same(await statuses('/', '/'), [200, 429])
    }
  }
})

t.test('only a known value of a header is a key', async (t) => {
  const known = { list: ['a', 'b'], function: (key: string) => key === 'a' || key === 'b', 'asynchronous function': async (key: string) => 'ab'.includes(key) }
  const headers = (key: string) => ({ url: '/', headers: { 'x-api-key': key } })
  for (const [name, isKnown] of Object.entries(known)) {
    const limit = { rate: NEVER, burst: 1, key: { header: 'X-API-Key', known: isKnown } } as const
    const rejecting = await build(t, { policies: { limit } })
    t.same(await rejecting.statuses(headers('a'), headers('b'), headers('a'), headers('c'), headers('d'), '/'), [200, 200, 429, 401, 401, 401], name)
    const substituting = await build(t, { policies: { limit: { ...limit, missingKey: 'address' } } })
    t.same(await substituting.statuses(headers('a'), headers('c'), headers('d'), '/', headers('b')), [200, 200, 429, 429, 200], `${name}: invented keys share the address's bucket`)
  }
  const failing = await build(t, { policies: { limit: { rate: NEVER, burst: 1, key: { header: 'x-api-key', known: () => { throw new Error('mine') } } } } })
  t.same(await failing.statuses(headers('a')), [500], 'a function that throws lets nobody pass')
})

t.test('a client that goes on after its refusals is locked out', async (t) => {
  const told: boolean[] = []
  const { app, clock, statuses } = await build(t, {
    policies: { login: { rate: 1, burst: 1, lockout: { after: 3, duration: 60_000 } } },
    onExceeded: (_request, { lockedOut }) => { told.push(lockedOut) },
    body: (_request, { lockedOut }) => ({ lockedOut })
  })
  t.same(await statuses('/', '/', '/'), [200, 429, 429])
  const locking = await app.inject('/')
  t.match([locking.statusCode, locking.headers['retry-after'], locking.json()], [429, '60', { lockedOut: true }])
  t.same(told, [false, false, true])
  clock.time += 30_000
  const locked = await app.inject('/')
  t.match([locked.statusCode, locked.headers['retry-after'], locked.headers['ratelimit']], [429, '30', '"login";r=0;t=30'])
  t.match(await app.limiter.peek('login'), { tokens: 0, wait: 30_000 })
  t.notOk(await app.limiter.allow('login'))
  t.match(await app.limiter.reserve('login', undefined, { maxWait: 40_000 }), { ok: false, delay: 30_000 })
  await t.rejects(app.limiter.wait('login', undefined, { timeout: 40_000 }), { code: 'FC_ERR_LIMITED', retryAfter: 30, lockedOut: true })
  clock.time += 30_000
  t.same(await statuses('/'), [200])
})

t.test('body and onExceeded: the route\'s own, otherwise the policy\'s, otherwise the limiter\'s', async (t) => {
  const called: Array<[string, LimitRefused]> = []
  const answers = (name: string) => ({
    body: async () => ({ by: name }),
    onExceeded: async (_request: unknown, refusal: LimitRefused) => { called.push([name, refusal]) }
  })
  const published: unknown[] = []
  const listener = (message: unknown): void => { published.push(message) }
  refused.subscribe(listener)
  t.teardown(() => refused.unsubscribe(listener))
  const policies = { plain: { rate: NEVER, burst: 1, routes: 'named' }, own: { rate: NEVER, burst: 1, routes: 'named', expose: false, ...answers('policy') } } as const
  const { app } = await build(t, { policies, ...answers('limiter') }, (app) => {
    app.get('/limiter', { config: { limiter: { policies: ['plain'] } } }, async () => 'ok')
    app.get('/policy', { config: { limiter: { policies: ['own'] } } }, async () => 'ok')
    app.get('/route', { config: { limiter: { policies: ['own'], ...answers('route') } } }, async () => 'ok')
    app.get('/window', { config: { rateLimit: { max: 1 }, limiter: answers('window') } }, async () => 'ok')
  })
  for (const name of ['limiter', 'policy', 'route', 'window']) {
    await app.inject(`/${name}`)
    const response = await app.inject(`/${name}`)
    t.match([response.statusCode, response.json(), response.headers['cache-control']], [429, { by: name }, 'no-store'])
  }
  t.same(called.map(([name]) => name), ['limiter', 'policy', 'route', 'route', 'window'], 'the bucket was empty before the first request of the third route')
  t.match(called.map(([, { policy }]) => policy), ['plain', 'own', 'own', 'own', 'GET /window'], 'also a policy that responses don\'t name')
  t.match(published, called.map(([, refusal]) => ({ ...refusal, server: app.server })), 'the channel has what onExceeded gets, and more')
})

t.test('an onExceeded that throws fails the request, which doesn\'t pass', async (t) => {
  for (const thrown of [new Error('mine'), undefined]) {
    for (const onExceeded of [() => { throw thrown }, async () => { throw thrown }]) {
      const { statuses } = await build(t, { policies: { one: { rate: NEVER, burst: 1 } }, onExceeded })
      t.same(await statuses('/', '/'), [200, 500])
    }
  }
})
