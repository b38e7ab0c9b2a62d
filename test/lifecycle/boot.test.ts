// A shutdown that comes while the application boots or begins to listen.
import t from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { once } from 'node:events'
import lifecycle from '../../plugins/lifecycle/index.ts'
import { logLines } from '../helper.ts'
import { deferred, fakeDrainable, phase } from './fixtures.ts'
import { drainablesOf } from '../../plugins/shared/drainables.ts'

const stops: Record<string, (app: FastifyInstance) => unknown> = {
  'shutdown() in an onReady hook': (app) => app.addHook('onReady', async () => { void app.lifecycle.shutdown() }),
  'shutdown() awaited in an onReady hook': (app) => app.addHook('onReady', async () => { await app.lifecycle.shutdown() }),
  'close() in an onReady hook': (app) => app.addHook('onReady', async () => { void app.close() }),
  'shutdown() in an onListen hook': (app) => app.addHook('onListen', async () => { await app.lifecycle.shutdown() })
}

for (const [what, stop] of Object.entries(stops)) {
  for (const host of ['127.0.0.1', undefined]) {
    t.test(`${what}: listen() settles, and nothing listens afterwards; host ${host}`, async (t) => {
      const app = Fastify()
      await app.register(lifecycle, { timeout: 5_000 })
      stop(app)
      await app.listen({ port: 0, ...(host !== undefined && { host }) }).catch(() => {})
      await phase(app, 'closed')
      if (app.server.listening) await once(app.server, 'close')
      t.equal(app.server.listening, false)
    })
  }
}

t.test('shutdown() from outside while an onReady hook runs: listen() settles, and nothing listens afterwards', async (t) => {
  const app = Fastify()
  await app.register(lifecycle, { timeout: 5_000 })
  const [runs, go] = [deferred(), deferred()]
  app.addHook('onReady', async () => {
    runs.resolve()
    await go.promise
  })
  const listening = app.listen({ port: 0 })
  await runs.promise
  t.match(await app.lifecycle.shutdown(), { unfinished: [] })
  go.resolve()
  await listening.catch(() => {})
  await phase(app, 'closed')
  t.equal(app.server.listening, false)
})

for (const [when, wait] of [['at once', () => {}], ['a microtask after', () => null], ['a turn after', () => new Promise(setImmediate)]] as const) {
  t.test(`shutdown() ${when} listen() made both reject: the app boots, with its onReady hooks, and then closes`, async (t) => {
    const app = Fastify()
    await app.register(lifecycle, { timeout: 5_000 })
    const order: string[] = []
    app.register(async () => {
      await new Promise(setImmediate)
      await new Promise(setImmediate)
    })
    app.addHook('onReady', async () => { order.push(`ready in ${app.lifecycle.phase}`) })
    app.addHook('onClose', async () => { order.push('closed') })
    const listening = app.listen({ port: 0, host: '127.0.0.1' })
    await wait()
    t.match(await app.lifecycle.shutdown('SIGTERM'), { reason: 'SIGTERM', unfinished: [] })
    await listening
    t.same(order, ['ready in serving', 'closed'])
    t.equal(app.server.listening, false)
  })
}

t.test('an onReady hook that awaits a shutdown() begun before the boot holds up neither', async (t) => {
  const app = Fastify()
  await app.register(lifecycle, { timeout: 60_000 })
  app.addHook('onReady', async () => { await app.lifecycle.shutdown('again') })
  t.match(await app.lifecycle.shutdown('first'), { reason: 'first', unfinished: [] })
})

t.test('a boot that never ends is waited for until the deadline', async (t) => {
  const app = Fastify({ pluginTimeout: 60_000 })
  const hang = deferred()
  await app.register(lifecycle, { timeout: 20, grace: 5 })
  app.register(async () => hang.promise)
  t.match(await app.lifecycle.shutdown(), { unfinished: [] })
  hang.resolve()
  await app.close()
})

t.test('onListen hooks of the application run as soon as without the plugin', async (t) => {
  async function orderOf (app: FastifyInstance): Promise<string[]> {
    t.teardown(() => app.close())
    const order: string[] = []
    app.addHook('onListen', (done) => {
      order.push('hook')
      done()
    })
    await new Promise<void>((resolve) => app.listen({ port: 0, host: '127.0.0.1' }, () => {
      order.push('listens')
      queueMicrotask(() => order.push('microtask'))
      setImmediate(resolve)
    }))
    return order
  }
  const app = Fastify()
  await app.register(lifecycle)
  t.same(await orderOf(app), await orderOf(Fastify()))
})

t.test('a refused request is one line at debug, and counted in the line at warn', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  await app.register(lifecycle)
  const tasks = fakeDrainable('tasks', 'tasks')
  tasks.hold('t1')
  drainablesOf(app).add(tasks)
  app.get('/', async () => 'hello')
  await app.ready()
  const shutdown = app.lifecycle.shutdown()
  await phase(app, 'tasks')
  for (let i = 0; i < 5; i++) t.equal((await app.inject('/')).statusCode, 503)
  tasks.finish('t1')
  await shutdown
  const each = lines.filter(({ level, err }) => level === 20 && (err as { code?: string } | undefined)?.code === 'FC_ERR_CLOSING')
  t.equal(each.length, 5)
  t.match(each[0], { reqId: String, phase: 'tasks' }, 'of its request')
  const refused = lines.filter(({ level, code }) => level === 40 && code === 'FC_ERR_CLOSING').map((line) => line['refused'] as number)
  t.equal(refused.reduce((sum, each) => sum + each, 0), 5)
})
