// Hooks of Fastify's close(): how long ours may take, and those of the application that never end.
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import lifecycle, { type LifecycleOptions, type ShutdownReport } from '../../plugins/lifecycle/index.ts'
import { inTurns } from '../../plugins/lifecycle/close/long-hook.ts'
import { deferred, logLines, rejection, type LogLine } from '../helper.ts'
import { phase } from './fixtures.ts'

type Line = LogLine & { shutdown: ShutdownReport }

async function start (t: Test, options: LifecycleOptions, server: FastifyServerOptions = {}, setUp: (app: FastifyInstance) => void = () => {}): Promise<{ app: FastifyInstance, lines: Line[] }> {
  const { lines, logger } = logLines()
  const app = Fastify({ logger, ...server }) as unknown as FastifyInstance
  t.teardown(async () => app.close().catch(() => {}))
  await app.register(lifecycle, options)
  setUp(app)
  return { app, lines: lines as Line[] }
}

for (const timeout of [5_000, Infinity]) {
  t.test(`a close() that drains for longer than Fastify's pluginTimeout finishes what is in flight and resolves; timeout ${timeout}`, async (t) => {
    const answer = deferred()
    const began = deferred()
    const { app } = await start(t, { timeout }, { pluginTimeout: 300 }, (app) => {
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
    setTimeout(() => answer.resolve(), 700)
    t.equal(await (await response).text(), 'finished')
    await close
    t.equal(app.lifecycle.phase, 'closed')
  })
}

t.test('a close() whose drain begins with a stall of the event loop resolves, though the stall takes most of pluginTimeout', async (t) => {
  const [began, answer] = [deferred(), deferred()]
  const { app } = await start(t, {}, { pluginTimeout: 300 }, (app) => {
    app.get('/', async () => {
      began.resolve()
      await answer.promise
      return 'finished'
    })
  })
  await app.ready()
  app.lifecycle.onShutdown(() => {
    for (const until = performance.now() + 200; performance.now() < until;);
    setTimeout(() => answer.resolve(), 500)
  })
  const response = app.inject('/')
  await began.promise
  await app.close()
  t.equal((await response).body, 'finished')
})

t.test('hooks in turn begin the work once, return in time, and the last one waits for its end', async (t) => {
  const end = deferred()
  let begun = 0
  const hooks = inTurns(async () => {
    begun++
    await end.promise
  }, 25, 20)
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

for (const hook of ['preClose', 'onClose'] as const) {
  t.test(`shutdown() ends within timeout + grace, whatever ignores its end; a ${hook} hook hangs`, async (t) => {
    const [began, end] = [deferred(), deferred()]
    const { app } = await start(t, { timeout: 200, grace: 1_600 }, {}, (app) => {
      app.addHook(hook as 'onClose', async () => end.promise)
      app.get('/deaf', async () => {
        began.resolve()
        await end.promise
      })
      app.get('/endless', { config: { lifecycle: 'always' } }, async (_request, reply) => {
        reply.hijack()
        reply.raw.write('data: hello\n\n')
      })
    })
    app.lifecycle.onShutdown(async () => end.promise)
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const answers = Promise.allSettled([fetch(`${url}/deaf`), (await fetch(`${url}/endless`)).text()])
    await began.promise
    const since = performance.now()
    const report = await app.lifecycle.shutdown()
    // The bound was 200 + 3 x 1600 ms.
    t.ok(performance.now() - since < 2_800, `${performance.now() - since} ms`)
    t.match(report.unfinished.map(({ kind, name }) => `${kind} ${name}`).sort(), ['hook (anonymous)', `hook ${hook}`, 'request GET /deaf'])
    end.resolve()
    await app.close()
    await answers
  })
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

t.test('the log line of a shutdown comes when the app has closed, and its duration is that of the report', async (t) => {
  const { app, lines } = await start(t, {}, {}, (app) => { app.addHook('onClose', async () => { await sleep(300) }) })
  await app.ready()
  const report = await app.lifecycle.shutdown('deploy')
  const [line, ...others] = lines.filter(({ shutdown }) => shutdown !== undefined)
  t.same(others, [])
  t.match(line, { level: 30, msg: `shutdown: 0 completed, 0 unfinished in ${line?.shutdown.durationMs} ms`, shutdown: { reason: 'deploy', unfinished: [] } })
  t.ok(line!.shutdown.durationMs >= 295)
  t.ok(Math.abs(line!.shutdown.durationMs - report.durationMs) <= 50)
})

t.test('a close() writes the same line', async (t) => {
  const { app, lines } = await start(t, {}, {}, (app) => { app.addHook('onClose', async () => { await sleep(100) }) })
  await app.ready()
  await app.close()
  t.match(lines.filter(({ shutdown }) => shutdown !== undefined), [{ level: 30, shutdown: { reason: 'close' } }])
  t.ok(lines.at(-1)!.shutdown.durationMs >= 95)
})

for (const during of ['serving', 'leaving', 'requests'] as const) {
  t.test(`a close() of other code in the phase ${during} is one line that names the remedy`, async (t) => {
    const answer = deferred()
    const began = deferred()
    const { app, lines } = await start(t, during === 'requests' ? {} : { delay: 4_000 }, {}, (app) => {
      app.get('/', async () => {
        began.resolve()
        await answer.promise
        return 'finished'
      })
    })
    const response = fetch(await app.listen({ port: 0, host: '127.0.0.1' }))
    await began.promise
    const shutdown = during === 'serving' ? undefined : app.lifecycle.shutdown('SIGTERM')
    if (during !== 'serving') await phase(app, during)
    const close = app.close()
    answer.resolve()
    t.equal(await (await response).text(), 'finished')
    await Promise.all([close, shutdown])
    t.match(lines.filter(({ level }) => level === 40), [{
      msg: new RegExp(`^shutdown: app.close\\(\\) was called in ${during === 'serving' ? 'place' : 'the middle'} of .*Apollo Server: .*NestJS: .*fastify-cli: `)
    }])
  })
}

for (const [what, options, close] of [
  ['a shutdown()', { delay: 20 }, async (app: FastifyInstance) => app.lifecycle.shutdown()],
  ['a shutdown() that a close() follows', { delay: 20 }, async (app: FastifyInstance) => { await app.lifecycle.shutdown(); await app.close() }],
  ['a close() without a delay', {}, async (app: FastifyInstance) => app.close()]
] as const) {
  t.test(`${what} is no such line`, async (t) => {
    const { app, lines } = await start(t, options)
    await app.listen({ port: 0, host: '127.0.0.1' })
    await close(app)
    t.same(lines.filter(({ level }) => level > 30), [])
  })
}
