// Hooks of Fastify's close(): how long ours may take, and those of the application that never end.
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import lifecycle, { type LifecycleOptions } from '../../plugins/lifecycle/index.ts'
import { inTurns } from '../../plugins/lifecycle/long-hook.ts'
import { deferred, logLines, rejection, type LogLine } from '../helper.ts'
import { phase } from './fixtures.ts'

async function start (t: Test, options: LifecycleOptions, server: FastifyServerOptions = {}, setUp: (app: FastifyInstance) => void = () => {}): Promise<{ app: FastifyInstance, lines: LogLine[] }> {
  const { lines, logger } = logLines()
  const app = Fastify({ logger, ...server }) as unknown as FastifyInstance
  t.teardown(async () => app.close().catch(() => {}))
  await app.register(lifecycle, options)
  setUp(app)
  return { app, lines }
}

for (const timeout of [5_000, Infinity]) {
  t.test(`a close() that drains for longer than Fastify's pluginTimeout finishes what is in flight and resolves; timeout ${timeout}`, async (t) => {
    const answer = deferred()
    const began = deferred()
    const { app } = await start(t, { timeout }, { pluginTimeout: 100 }, (app) => {
      app.get('/', async () => {
        began.resolve()
        await answer.promise
        return 'finished'
      })
    })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const response = fetch(url)
    await began.promise
    const close = app.close()
    await phase(app, 'requests')
    setTimeout(() => answer.resolve(), 450)
    t.equal(await (await response).text(), 'finished')
    await close
    t.equal(app.lifecycle.phase, 'closed')
  })
}

t.test('hooks in turn begin the work once, return in time, and the last one waits for its end', async (t) => {
  const end = deferred()
  let begun = 0
  const hooks = inTurns(async () => {
    begun++
    await end.promise
  }, 25, 10)
  t.equal(hooks.length, 3)
  await hooks[0]!()
  await hooks[1]!()
  let over = false
  const last = hooks[2]!().then(() => { over = true })
  t.equal(over, false)
  end.resolve()
  await last
  t.equal(begun, 1)
  t.equal(inTurns(async () => {}, Infinity, 0).length, 1, 'without a limit')
  t.equal(inTurns(async () => {}, 9_500, 10_000).length, 2)
  t.equal(inTurns(async () => {}, Infinity, 10_000).length, 1_000)
})

t.test('an error of the work is that of the first hook that waits for it', async (t) => {
  const [first] = inTurns(async () => { throw new Error('broken') }, 100, 10)
  t.match(await rejection(first!()), { message: 'broken' })
})

for (const listens of [true, false]) {
  for (const hook of ['preClose', 'onClose'] as const) {
    t.test(`${hook}: a hook that never ends does not hold shutdown() for ever, and is in the report and in the log as what it is; ${listens ? 'listening' : 'not listening'}`, async (t) => {
      const end = deferred()
      const { app, lines } = await start(t, { timeout: 20, grace: 10 }, {}, (app) => { app.addHook(hook as 'onClose', async () => end.promise) })
      await (listens ? app.listen({ port: 0, host: '127.0.0.1' }) : app.ready())
      const { unfinished } = await app.lifecycle.shutdown()
      t.match(unfinished, [{ kind: 'hook', name: hook, attempt: 1, ageMs: Number }])
      t.match(lines.filter(({ level }) => level === 50), [{ msg: new RegExp(`^shutdown: a hook of the application \\(${hook}\\) has not finished`), hook: { kind: 'hook' } }])
      end.resolve()
      await app.close()
    })
  }
}

t.test('a preClose hook that Fastify gives up after its pluginTimeout is in the report, and shutdown() resolves', async (t) => {
  const { app } = await start(t, { timeout: 5_000 }, { pluginTimeout: 50 }, (app) => { app.addHook('preClose', async () => new Promise(() => {})) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.match(await app.lifecycle.shutdown(), { unfinished: [{ kind: 'hook', name: 'preClose' }] })
})

t.test('a client that keeps its connection open is not taken for a hook that hangs', async (t) => {
  const { app } = await start(t, { timeout: 50, grace: 50 })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
  await once(socket, 'connect')
  t.same((await app.lifecycle.shutdown()).unfinished, [])
})
