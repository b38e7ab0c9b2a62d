// The limits of the playbook: what the BAD handler lets through, or keeps out, and the GOOD one doesn't.
import { mock } from 'node:test'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import t, { type Test } from 'tap'
import * as global from '../../example/playbook/limit-global.ts'
import * as layered from '../../example/playbook/limit-layered.ts'
import * as perClient from '../../example/playbook/limit-per-client.ts'
import * as perKey from '../../example/playbook/limit-per-key.ts'
import * as proper from '../../example/playbook/limit-proper-429.ts'
import * as stale from '../../example/playbook/limit-stale-cleanup.ts'

interface Ask {
  from?: string
  headers?: Record<string, string>
}

async function start (t: Test, plugin: FastifyPluginAsync): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(plugin)
  await app.ready()
  return app
}

async function ask (app: FastifyInstance, { from = '10.0.0.1', headers = {} }: Ask = {}): Promise<number> {
  return (await app.inject({ url: '/work', remoteAddress: from, headers })).statusCode
}

/** How many of them were served. */
async function served (app: FastifyInstance, asks: Ask[]): Promise<number> {
  let count = 0
  for (const each of asks) if (await ask(app, each) === 200) count++
  return count
}

const times = (count: number, each: (index: number) => Ask = () => ({})): Ask[] => Array.from({ length: count }, (_, index) => each(index))

t.test('global: just before and just after the end of a second', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  for (const [plugin, expected] of [[global.bad, 20], [global.good, 10]] as const) {
    const app = await start(t, plugin)
    const began = performance.now()
    const before = await served(app, times(20))
    mock.timers.tick(1_000)
    const after = await served(app, times(20))
    const refilled = plugin === global.good ? Math.floor((performance.now() - began) / 100) : 0
    t.ok(before + after >= expected && before + after <= expected + refilled, `${before + after} of 40`)
  }
})

t.test('per client: a client that writes its own address', async (t) => {
  const spoofed = times(50, (index) => ({ headers: { 'x-forwarded-for': `10.9.9.${index}` } }))
  t.equal(await served(await start(t, perClient.bad), spoofed), 50)
  t.equal(await served(await start(t, perClient.good), spoofed), 5)
  const neighbours = times(50, (index) => ({ from: `2001:db8::${index.toString(16)}` }))
  t.equal(await served(await start(t, perClient.bad), neighbours), 50)
  t.equal(await served(await start(t, perClient.good), neighbours), 5)
})

t.test('per key: a request without one', async (t) => {
  const bad = await start(t, perKey.bad)
  const good = await start(t, perKey.good)
  for (const [key, limit] of [['free-ada', 2], ['pro-bob', 8]] as const) {
    for (const app of [bad, good]) t.equal(await served(app, times(20, () => ({ headers: { 'x-api-key': key } }))), limit)
  }
  t.equal(await served(bad, times(50)), 50, 'BAD: isn\'t limited')
  t.equal(await ask(good), 401, 'GOOD: isn\'t served')
})

t.test('stale cleanup: a limited client that sends requests from other addresses', async (t) => {
  for (const [plugin, expected] of [[stale.bad, 200], [stale.good, 429]] as const) {
    const app = await start(t, plugin)
    await served(app, times(3))
    t.equal(await ask(app), 429)
    await served(app, times(150, (index) => ({ from: `10.1.1.${index}` })))
    t.equal(await ask(app), expected)
  }
})

t.test('layered: what one client over its own limit takes from the others', async (t) => {
  for (const [plugin, expected] of [[layered.bad, 0], [layered.good, 3]] as const) {
    const app = await start(t, plugin)
    await served(app, times(20))
    t.equal(await served(app, times(3, () => ({ from: '10.0.0.2' }))), expected)
  }
})

t.test('a proper 429', async (t) => {
  const bad = await start(t, proper.bad)
  await ask(bad)
  t.notOk('retry-after' in (await bad.inject('/work')).headers)

  const good = await start(t, proper.good)
  t.match((await good.inject('/work')).headers, { 'ratelimit-policy': '"client";q=1;w=30', ratelimit: '"client";r=0;t=30' })
  const response = await good.inject('/work')
  t.equal(response.statusCode, 429)
  t.match(response.headers, { 'retry-after': '30', 'cache-control': 'no-store' })
  t.match(response.json(), { policy: 'client', retryAfter: 30 })
})
