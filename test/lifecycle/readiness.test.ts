import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { mock } from 'node:test'
import lifecycle, { type LifecycleOptions } from '../../plugins/lifecycle/index.ts'
import { createReadiness } from '../../plugins/lifecycle/readiness.ts'
import { deferred, phase } from './fixtures.ts'

async function build (t: Test, options: LifecycleOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(async () => app.close())
  await app.register(lifecycle, { readyPath: '/ready', ...options })
  await app.ready()
  return app
}

t.test('the application may have its own /ready and /live', async (t) => {
  const app = Fastify()
  t.teardown(async () => app.close())
  await app.register(lifecycle)
  app.get('/ready', async () => 'mine')
  app.get('/live', async () => 'mine')
  t.equal((await app.inject('/ready')).body, 'mine')
  t.equal((await app.inject('/live')).body, 'mine')
})

t.test('ready when every check passes; a 503 names those that fail, and why', async (t) => {
  const app = await build(t, {
    ready: [async () => 'pong', async function database () { throw new Error('connect ECONNREFUSED') }, () => false, () => { throw null }] // eslint-disable-line no-throw-literal -- a check may throw anything
  })
  const response = await app.inject('/ready')
  t.equal(response.statusCode, 503)
  t.same(response.json(), {
    status: 'not ready',
    failed: [{ name: 'database', error: 'connect ECONNREFUSED' }, { name: 'ready[2]', error: 'returned false' }, { name: 'ready[3]', error: 'null' }]
  })
  const healthy = await build(t, { ready: [async () => {}, () => 0, () => undefined] })
  t.same((await healthy.inject('/ready')).json(), { status: 'ready' })
})

t.test('a check that does not answer in time fails, and is not asked again before it has answered', async (t) => {
  const answer = deferred()
  let calls = 0
  let now = 0
  const ask = createReadiness([async () => { calls++; await answer.promise }, async () => {}], 20, () => now)
  t.same(await ask(), [{ name: 'ready[0]', error: 'has not answered within 20 ms' }])
  now = 1_000
  t.same(await ask(), [{ name: 'ready[0]', error: 'has not answered within 20 ms' }])
  t.equal(calls, 1)
  answer.resolve()
  now = 2_000
  await ask()
  now = 3_000
  t.same(await ask(), [])
})

t.test('checks run at the same time, once a second at most, however many ask', async (t) => {
  const both = [deferred(), deferred()]
  const started: number[] = []
  let now = 0
  const ask = createReadiness(both.map(({ promise }, index) => async () => { started.push(index); await promise }), 10_000, () => now)
  const asked = Array.from({ length: 100 }, async () => ask())
  await new Promise(setImmediate)
  t.same(started, [0, 1], 'the second does not wait for the first')
  for (const { resolve } of both) resolve()
  t.same(new Set((await Promise.all(asked)).map((failed) => failed.length)), new Set([0]))
  now = 999
  await ask()
  t.equal(started.length, 2)
  now = 1_000
  await ask()
  t.equal(started.length, 4)
})

t.test('a check whose query is lazy runs it once', async (t) => {
  const then = mock.fn((resolve: () => void) => resolve())
  t.same(await createReadiness([() => ({ then })], 1_000, () => 0)(), [])
  t.equal(then.mock.callCount(), 1)
})

t.test('a service that stops is not ready, whatever its checks say', async (t) => {
  const app = await build(t, { delay: 50, ready: [async () => {}] })
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'leaving')
  const response = await app.inject('/ready')
  t.equal(response.statusCode, 503)
  t.same(response.json(), { status: 'leaving' })
  await shutdown
})

for (const [options, message] of [
  [{ ready: 'db' }, /"lifecycle\.ready": expected an array/],
  [{ readyPath: '/ready', ready: ['db'] }, /"lifecycle\.ready\[0\]": expected a function/],
  [{ ready: [() => true] }, /"lifecycle\.readyPath": expected a path/],
  [{ readyTimeout: 0 }, /"lifecycle\.readyTimeout": expected milliseconds from 1/]
] as const) {
  t.test(`invalid: ${JSON.stringify(options)}`, async (t) => {
    const app = Fastify()
    await t.rejects(async () => app.register(lifecycle, options as never), { code: 'FC_ERR_OPTION_INVALID', message })
    await app.close()
  })
}
