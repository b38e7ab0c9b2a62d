// The suite in one register call: what its options mean for the parts.
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import concurrency, { type ConcurrencyOptions } from '../plugins/index.ts'
import { currentRequest } from '../plugins/cancellation/index.ts'
import lifecycle from '../plugins/lifecycle/index.ts'
import { execArgv, logLines } from './helper.ts'
import { jobs } from './fixtures/jobs.ts'

function create (t: Test): FastifyInstance {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  return app
}

const policies = { service: { rate: 1_000, burst: 1_000 } }
const workers = { jobs, maxThreads: 1, execArgv }

/** One part alone, with an `ambient` of its own. */
const parts: Record<string, (ambient: boolean | undefined) => ConcurrencyOptions> = {
  limiter: (ambient) => ({ limiter: { policies, ambient } as never, tasks: false, locks: false, lifecycle: false }),
  workers: (ambient) => ({ workers: { ...workers, ambient } as never, tasks: false, locks: false, lifecycle: false }),
  tasks: (ambient) => ({ tasks: { ambient } as never, lifecycle: false, locks: false }),
  locks: (ambient) => ({ locks: { ambient } as never, lifecycle: false, tasks: false })
}

for (const [part, options] of Object.entries(parts)) {
  t.test(`ambient of the suite holds for ${part} unless ${part} says otherwise; undefined says nothing`, async (t) => {
    const isAmbient = async (suite: boolean | undefined, own: boolean | undefined): Promise<boolean> => {
      const app = create(t)
      await app.register(concurrency, { ...options(own), ambient: suite } as never)
      app.get('/', async () => ({ ambient: currentRequest() !== undefined }))
      return (await app.inject('/')).json<{ ambient: boolean }>().ambient
    }
    t.equal(await isAmbient(false, undefined), false)
    t.equal(await isAmbient(false, false), false)
    t.equal(await isAmbient(false, true), true)
    t.equal(await isAmbient(true, false), false)
    t.equal(await isAmbient(undefined, undefined), true)
  })
}

t.test('a part whose options are undefined is as if it was not named; options that are no object are refused by name', async (t) => {
  const app = create(t)
  await app.register(concurrency, { lifecycle: undefined, limiter: undefined, workers: undefined, tasks: undefined, locks: undefined } as never)
  t.strictSame(['lifecycle', 'limiter', 'workers', 'tasks', 'locks'].map((part) => app.hasDecorator(part)), [true, false, false, true, true])
  for (const part of ['lifecycle', 'limiter', 'workers', 'tasks', 'locks']) {
    for (const options of [true, 5, 'yes', []]) {
      const refused = create(t)
      await t.rejects(async () => refused.register(concurrency, { [part]: options }), {
        code: 'FC_ERR_OPTION_INVALID', message: new RegExp(`^Option "concurrency\\.${part}": expected an object`)
      })
    }
  }
})

t.test('a part that is off explains itself when it is used, and hides no decorator of another plugin', async (t) => {
  const app = create(t)
  await app.register(concurrency)
  t.equal(app.hasDecorator('workers'), false, 'another plugin may still bring one')
  app.get('/', async () => app.workers.run('primes'))
  app.register(async (child) => { child.decorate('limiter', 'theirs' as never) })
  const theirs = create(t)
  await theirs.register(concurrency)
  theirs.decorate('limiter', 'theirs' as never)
  await theirs.ready()
  t.equal(theirs.limiter as unknown, 'theirs')
  t.match((await app.inject('/')).json(), { code: 'FC_ERR_PART_MISSING', message: 'app.workers is not registered: register fastify-concurrency with { workers: { jobs } }' })
  t.throws(() => app.limiter, { code: 'FC_ERR_PART_MISSING', message: /with \{ limiter: \{ policies \} \}/ })
})

t.test('without await, every part serves routes of the root, of later plugins, and hooks; mistakes fail at boot', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(() => app.close())

  app.register(concurrency, { workers, limiter: { policies: { client: { rate: 1, burst: 3, key: 'address' }, ...policies } } })
  const ready: unknown[] = []
  app.addHook('onReady', async () => { ready.push(await run(app), await app.tasks.submit('boot', () => 1).done) })
  const run = async (scope: FastifyInstance): Promise<unknown> => (scope.workers.run as (name: string, payload: unknown) => Promise<unknown>)('echo', 7)
  app.get('/ambient', async (request) => ({ ambient: currentRequest() === request, connected: !request.disconnected.aborted }))
  app.get('/work', async () => ({ job: await run(app), task: await app.tasks.submit('t', () => 8).done, mapped: await app.tasks.group().map([1], (n) => n + 1), peek: (await app.limiter.peek('service' as never, undefined as never)) !== undefined }))
  void app.register(async (child) => { child.get('/child', async () => ({ job: await run(child) })) })
  await app.ready()
  t.strictSame(ready, [7, 1])
  t.strictSame((await app.inject({ url: '/ambient', remoteAddress: '10.0.0.1' })).json(), { ambient: true, connected: true })
  t.strictSame((await app.inject({ url: '/work', remoteAddress: '10.0.0.2' })).json(), { job: 7, task: 8, mapped: [2], peek: true })
  t.strictSame((await app.inject({ url: '/child', remoteAddress: '10.0.0.3' })).json(), { job: 7 })
  const statuses: number[] = []
  for (let i = 0; i < 5; i++) statuses.push((await app.inject({ url: '/ambient', remoteAddress: '10.0.0.4' })).statusCode)
  t.ok(statuses.includes(429), 'limited')
  t.match(lines.find(({ msg }) => msg.startsWith('concurrency: ')), { level: 40, routes: ['GET /ambient', 'HEAD /ambient', 'GET /work', 'HEAD /work'], msg: /await app\.register/ })
  t.equal(app.lifecycle.ready, true)

  for (const options of [{ tasks: { concurrency: 0 } }, { limiter: {} }, { workers: {} }, { lifecycle: { timeout: -1 } }, { worker: {} }]) {
    const refused = create(t)
    void refused.register(concurrency, options as never)
    refused.get('/', async () => 'x')
    await t.rejects(async () => refused.ready(), { code: 'FC_ERR_OPTION_INVALID' })
  }
})

t.test('a limiter that is registered first says nothing of routes', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(concurrency, { limiter: { policies } })
  app.get('/', async () => 'x')
  await app.ready()
  t.strictSame(lines.filter(({ level }) => level >= 40), [])
})

t.test('a second registration of the suite, or of lifecycle beside it, says so', async (t) => {
  for (const again of [concurrency, lifecycle]) {
    const app = create(t)
    await app.register(concurrency)
    await t.rejects(async () => app.register(again), { code: 'FC_ERR_OPTION_INVALID', message: /once.*a second registration/ })
  }
})
