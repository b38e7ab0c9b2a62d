import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { mock } from 'node:test'
import lifecycle, { type LifecycleOptions } from '../../plugins/lifecycle/index.ts'
import { createReadyChecks } from '../../plugins/lifecycle/probes.ts'
import { logLines } from '../helper.ts'
import { deferred, phase } from './fixtures.ts'

async function build (t: Test, options: LifecycleOptions, server: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = Fastify(server) as unknown as FastifyInstance
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

t.test('ready when every check passes; a 503 names those that fail, and the log says why, once', async (t) => {
  const { lines, logger } = logLines()
  const app = await build(t, {
    ready: [async () => 'pong', async function database () { throw new Error('connect ECONNREFUSED') }, () => false, () => { throw null }] // eslint-disable-line no-throw-literal -- a check may throw anything
  }, { logger })
  const response = await app.inject('/ready')
  t.equal(response.statusCode, 503)
  t.same(response.json(), { status: 'not ready', failed: [{ name: 'database' }, { name: 'ready[2]' }, { name: 'ready[3]' }] })
  await app.inject('/ready')
  t.match(lines.filter(({ level }) => level === 40).map(({ check, error }) => [check, error]).sort(), [['database', 'connect ECONNREFUSED'], ['ready[2]', 'returned false'], ['ready[3]', 'null']])
  const healthy = await build(t, { ready: [async () => {}, () => 0, () => undefined] })
  t.same((await healthy.inject('/ready')).json(), { status: 'ready' })
})

t.test('a check that has hung once is called again a second later', async (t) => {
  let now = 0
  const signals: AbortSignal[] = []
  const ask = createReadyChecks([async (signal) => {
    signals.push(signal)
    if (signals.length === 1) await new Promise(() => {})
  }, async () => {}], 20, () => now)
  t.same(await ask(), [{ name: 'ready[0]', error: 'has not answered within 20 ms' }])
  now = 1_000
  t.same(await ask(), [])
  t.match(signals, [{ aborted: true, reason: { name: 'TimeoutError' } }, { aborted: false }])
})

t.test('a check that hangs and ignores its signal is called ever later, and at the next probe once it has settled', async (t) => {
  const answer = deferred()
  let now = 0
  const calledAt: number[] = []
  const ask = createReadyChecks([async () => { calledAt.push(now / 1_000); await answer.promise }], 1, () => now)
  for (; now <= 100_000; now += 1_000) t.same(await ask(), [{ name: 'ready[0]', error: 'has not answered within 1 ms' }])
  t.same(calledAt, [0, 1, 3, 7, 15, 31, 61, 91])
  answer.resolve()
  await new Promise(setImmediate)
  now += 1_000
  t.same(await ask(), [])
  t.equal(calledAt.length, 9)
})

t.test('a check that heeds its signal is called each second', async (t) => {
  let now = 0
  let calls = 0
  const ask = createReadyChecks([async (signal) => {
    calls++
    await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }], 1, () => now)
  for (; now < 5_000; now += 1_000) {
    t.equal((await ask()).length, 1)
    await new Promise(setImmediate)
  }
  t.equal(calls, 5)
})

t.test('a check that throws what cannot be read is named in the 503', async (t) => {
  const proxy: unknown = new Proxy({}, { get () { throw new Error('trap') }, getPrototypeOf () { throw new Error('trap') } })
  const app = await build(t, { ready: [function bare () { throw Object.create(null) }, function trap () { throw proxy }] })
  const response = await app.inject('/ready')
  t.equal(response.statusCode, 503)
  t.same(response.json().failed.map(({ name }: { name: string }) => name), ['bare', 'trap'])
})

t.test('what a check says is logged when it changes, cut short, and never sent', async () => {
  let now = 0
  const changes: Array<[string, number | undefined]> = []
  const texts: Array<string | undefined> = ['redis://user:secret@host', 'redis://user:secret@host', undefined, undefined, 'x'.repeat(1_000_000)]
  const ask = createReadyChecks([function redis () {
    const text = texts.shift()
    if (text !== undefined) throw new Error(text)
  }], 1_000, () => now, ({ name, error }) => changes.push([name, error?.length]))
  while (texts.length > 0) {
    await ask()
    now += 1_000
  }
  t.same(changes, [['redis', 24], ['redis', undefined], ['redis', 1_000]])
})

t.test('checks run at the same time, at most once a second, however many probes come', async (t) => {
  const both = [deferred(), deferred()]
  const started: number[] = []
  let now = 0
  const ask = createReadyChecks(both.map(({ promise }, index) => async () => { started.push(index); await promise }), 10_000, () => now)
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
  t.same(await createReadyChecks([() => ({ then })], 1_000, () => 0)(), [])
  t.equal(then.mock.callCount(), 1)
})

t.test('a service that stops is not ready, whether its checks pass or not', async (t) => {
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
