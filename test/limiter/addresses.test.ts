// Whose address is whose: allow lists, grouping, and proxies that Fastify wasn't told of.
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import limiter, { type LimiterOptions } from '../../plugins/limiter/index.ts'
import { logLines, startApp, type LogLine } from '../helper.ts'
import { build, NEVER } from './helper.ts'

const client = { rate: NEVER, burst: 1, key: 'address' } as const
const wide = { rate: 1000, burst: 1000 } as const
const from = (remoteAddress: string, url = '/') => ({ url, remoteAddress })
const forwarded = (address: string, url = '/') => ({ url, headers: { 'x-forwarded-for': address } })

t.test('an address written otherwise makes no new client', async (t) => {
  const spellings: Record<string, string[]> = {
    '2001:db8::1': ['[2001:db8::3]', '[2001:db8::4]:443', '2001:DB8::5', '[2001:DB8::6]', '2001:0db8:0000:0000:0000:0000:0000:0007', '2001:db8::1%eth0', '[2001:db8::1%eth0]:1'],
    '10.0.0.1': ['10.0.0.1:8080', '::ffff:10.0.0.1', '::FFFF:10.0.0.1', '::ffff:0a00:0001', '[::ffff:10.0.0.1]', '[::ffff:10.0.0.1]:80', '[10.0.0.1]:80']
  }
  for (const [address, others] of Object.entries(spellings)) {
    for (const other of others) {
      for (const rateLimit of [undefined, { max: 1, timeWindow: '1 hour' }, { max: 1, timeWindow: '1 hour', ipv6Subnet: 56 }]) {
        const policies = rateLimit === undefined ? { client } : { wide }
        const { statuses } = await build(t, { policies }, (app) => {
          app.get('/', { config: rateLimit === undefined ? {} : { rateLimit } }, async () => 'ok')
          app.get('/hook', { onRequest: app.rateLimit({ max: 1, timeWindow: '1 hour', ...rateLimit }) }, async () => 'ok')
        }, { trustProxy: '127.0.0.1' })
        t.same(await statuses(forwarded(address), forwarded(other)), [200, 429], other)
        if (rateLimit !== undefined) t.same(await statuses(forwarded(address, '/hook'), forwarded(other, '/hook')), [200, 429], other)
      }
    }
  }
})

t.test('an allow list exempts the addresses and networks that it names, and not their neighbours', async (t) => {
  const list = ['10.0.0.7', '2001:db8::1', '::ffff:10.0.0.8', '[2001:DB8:1::1]', '192.168.0.0/16', '2001:db8:2::/48', '10.1.0.1/32', '2001:db8:9::1/128']
  const listed = ['10.0.0.7', '::ffff:10.0.0.7', '2001:db8::1', '2001:DB8:0::1', '10.0.0.8', '2001:db8:1::1', '192.168.3.4', '::ffff:192.168.3.4', '2001:db8:2:ffff::9', '10.1.0.1', '2001:db8:9::1']
  const others = ['10.0.0.9', '2001:db8::2', '2001:db8:1::2', '192.169.0.1', '2001:db8:3::1', '::ffff:10.0.0.77', '10.1.0.2', '2001:db8:9::2']
  const window = { max: 1, timeWindow: '1 hour' }
  const ways: Record<string, [LimiterOptions, object?]> = {
    'of a policy': [{ policies: { client: { ...client, allowList: list } } }],
    'of the limiter': [{ policies: { client }, allowList: list }],
    'of config.rateLimit': [{ policies: { wide } }, { rateLimit: { ...window, allowList: list } }],
    'of config.rateLimit with a subnet': [{ policies: { wide } }, { rateLimit: { ...window, ipv6Subnet: 48, allowList: list } }]
  }
  for (const [name, [options, config = {}]] of Object.entries(ways)) {
    for (const [addresses, expected] of [[listed, [200, 200]], [others, [200, 429]]] as const) {
      for (const address of addresses) {
        const { statuses } = await build(t, options, (app) => { app.get('/', { config }, async () => 'ok') })
        t.same(await statuses(from(address), from(address)), expected, `${name}: ${address}`)
      }
    }
  }
  const hook = await build(t, { policies: { wide } }, (app) => { app.get('/', { onRequest: app.rateLimit({ ...window, allowList: list }) }, async () => 'ok') })
  t.same(await hook.statuses(from('2001:db8::1'), from('2001:db8::1'), from('2001:db8::2'), from('2001:db8::3')), [200, 200, 200, 429], 'app.rateLimit()')
})

t.test('an allow list by address that can name none is an error at boot', async (t) => {
  for (const entry of ['localhost', '10.0.0', '10.0.0.0/33', '2001:db8::/129', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/1e1', '10.*']) {
    for (const options of [{ policies: { client }, allowList: ['::1', entry] }, { policies: { client: { ...client, allowList: ['::1', entry] } } }]) {
      await t.rejects(build(t, options), { code: 'FC_ERR_OPTION_INVALID', message: /allowList\[1\]": expected an address, or a network like '10\.0\.0\.0\/8'/ }, entry)
    }
  }
})

const warnings = (lines: Array<{ level: number, msg: string }>): string[] => lines.filter(({ level }) => level === 40).map(({ msg }) => msg)
/** An app with one route; its warnings at boot, and after requests that say for whom they were forwarded. */
async function behind (t: Test, options: LimiterOptions, server: FastifyServerOptions = {}, routes?: (app: FastifyInstance) => void): Promise<string[]> {
  const { logged, statuses } = await build(t, options, routes, server)
  const atBoot = warnings(logged)
  await statuses('/', '/other')
  t.same(warnings(logged), atBoot, 'a request that comes directly warns of nothing')
  await statuses(forwarded('10.0.0.1'), forwarded('10.0.0.2'), forwarded('10.0.0.3', '/other'))
  return warnings(logged)
}

t.test('behind a proxy that Fastify wasn\'t told of, limits by address say once that all its clients are one', async (t) => {
  const expected = [/X-Forwarded-For.*trustProxy.*Fix: trustProxy: the addresses of your proxies/]
  const own = (config: object) => (app: FastifyInstance): void => { app.get('/', { config }, async () => 'ok') }
  const window = { max: 100, timeWindow: '1 hour' }
  t.match(await behind(t, { policies: { client: { ...wide, key: 'address' } } }), expected)
  t.match(await behind(t, { policies: { key: { ...wide, key: { header: 'x-api-key' }, missingKey: 'address' } } }), expected)
  t.match(await behind(t, { policies: { wide } }, {}, own({ rateLimit: window })), expected)
  t.match(await behind(t, { policies: { wide } }, {}, own({ rateLimit: { ...window, ipv6Subnet: 56 } })), expected)
  t.match(await behind(t, { policies: { wide } }, {}, own({ rateLimit: { ...window, hook: 'preHandler' } })), expected)
  t.match(await behind(t, { policies: { wide } }, {}, (app) => { app.get('/', { onRequest: app.rateLimit(window) }, async () => 'ok') }), expected)
  t.match(await behind(t, { policies: { wide } }, {}, (app) => { app.get('/', { onRequest: app.rateLimit() }, async () => 'ok') }), expected)
  t.match(await behind(t, { policies: { wide }, allowList: ['10.0.0.1'] }), expected)
  for (const options of [{ policies: { wide } }, { policies: { key: { ...wide, key: () => 'k' } } }]) t.same(await behind(t, options), [], 'none is by address')
  for (const trustProxy of ['127.0.0.1', ['127.0.0.1'], 'loopback', false, () => false]) {
    t.same(await behind(t, { policies: { client: { ...wide, key: 'address' } } }, { trustProxy: trustProxy as string }), [], `${String(trustProxy)} is set`)
  }
})

t.test('behind a proxy that Fastify wasn\'t told of, the pool\'s fairness says so too, once for the whole app', async (t) => {
  const said = (lines: LogLine[]): LogLine[] => lines.filter(({ level, msg }) => level === 40 && msg.includes('X-Forwarded-For'))
  const jobs = async (server: FastifyServerOptions, run: object = {}): Promise<number> => {
    const { lines, logger } = logLines()
    const { app } = await startApp(t, {}, { logger, ...server }, (app, workers) => { app.get('/', async () => { await workers.run('echo', 1, run) }) })
    await app.inject('/')
    t.equal(said(lines).length, 0)
    await app.inject(forwarded('10.0.0.1'))
    await app.inject(forwarded('10.0.0.2'))
    return said(lines).length
  }
  t.equal(await jobs({}), 1)
  t.equal(await jobs({}, { key: 'mine' }), 0, 'a key of the application\'s own')
  t.equal(await jobs({ trustProxy: '127.0.0.1' }), 0)

  const { lines, logger } = logLines()
  const { app } = await startApp(t, {}, { logger }, (app, workers) => {
    app.register(async (scope) => {
      await scope.register(limiter, { policies: { client: { ...wide, key: 'address' } } })
      scope.get('/', async () => { await workers.run('echo', 1) })
    })
  })
  await app.inject(forwarded('10.0.0.1'))
  t.equal(said(lines).length, 1)
})

t.test('boot checks of trustProxy know of config.rateLimit, app.rateLimit() and an allow list', async (t) => {
  const window = { max: 1, timeWindow: '1 hour' }
  const routes: Record<string, (app: FastifyInstance) => void> = {
    'config.rateLimit': (app) => { app.get('/', { config: { rateLimit: window } }, async () => 'ok') },
    'config.rateLimit with a subnet': (app) => { app.get('/', { config: { rateLimit: { ...window, ipv6Subnet: 48 } } }, async () => 'ok') },
    'config.rateLimit of an inner scope': (app) => { app.register(async (scope) => { scope.get('/', { config: { rateLimit: window } }, async () => 'ok') }) },
    'app.rateLimit()': (app) => { app.get('/', { onRequest: app.rateLimit(window) }, async () => 'ok') },
    'app.createRateLimit()': (app) => { app.createRateLimit(window) }
  }
  for (const [name, declare] of Object.entries(routes)) {
    await t.rejects(build(t, { policies: { wide } }, declare, { trustProxy: 1 as never }), { code: 'FC_ERR_OPTION_INVALID', message: /^Option "trustProxy": expected the addresses of your proxies/ }, name)
    t.match(warnings((await build(t, { policies: { wide } }, declare, { trustProxy: true })).logged), [/trustProxy.*can forge its address/], name)
    t.same(warnings((await build(t, { policies: { wide } }, declare, { trustProxy: '10.0.0.1' })).logged), [], name)
  }
  await t.rejects(build(t, { policies: { wide }, allowList: ['10.0.0.1'] }, undefined, { trustProxy: 1 as never }), { code: 'FC_ERR_OPTION_INVALID' })
  t.match(warnings((await build(t, { policies: { wide }, allowList: ['10.0.0.1'] }, undefined, { trustProxy: true })).logged), [/can forge its address/])
  t.equal(warnings((await build(t, { policies: { client } }, routes['config.rateLimit'], { trustProxy: true })).logged).length, 1, 'all of them in one line')
  const keyed = (app: FastifyInstance): void => { app.get('/', { config: { rateLimit: { ...window, keyGenerator: () => 'k' } } }, async () => 'ok') }
  t.same(warnings((await build(t, { policies: { wide } }, keyed, { trustProxy: true })).logged), [])
})

t.test('a garbage address, however long, is a key like any other', async (t) => {
  const { statuses } = await build(t, { policies: { client } }, undefined, { trustProxy: () => true })
  const garbage = (tail: string) => forwarded(`${'x:'.repeat(5000)}${tail}`)
  t.same(await statuses(garbage('a'), garbage('a'), garbage('b')), [200, 429, 200])
})

t.test('names of the limiter\'s own never meet a policy\'s', async (t) => {
  const names = ['@fastify/rate-limit 0', '@fastify/rate-limit 1', 'probe of the store']
  const { statuses } = await build(t, { policies: Object.fromEntries(names.map((name) => [name, { rate: NEVER, burst: 3 }])) }, (app) => {
    app.get('/', { onRequest: app.rateLimit({ max: 1000, timeWindow: '1 hour', keyGenerator: () => '' }) }, async () => 'ok')
  })
  t.same(await statuses('/', '/', '/', '/'), [200, 200, 200, 429])
})
