import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { kEnd } from '../../plugins/cancellation/request-end.ts'
import concurrency from '../../plugins/index.ts'
import type { TestWorkers } from '../helper.ts'
import { deferred, execArgv, rejection, until } from '../helper.ts'
import { jobs } from '../fixtures/jobs.ts'

const TIMEOUT = 200

interface Limits {
  wait (name: string, key: string, options?: object): Promise<void>
  run (name: string, fn: () => unknown, options?: object): Promise<unknown>
}

const limits = (app: FastifyInstance): Limits => app.limiter as unknown as Limits

async function start (t: Test, routes: (app: FastifyInstance, workers: TestWorkers) => void, server: object = { handlerTimeout: TIMEOUT }) {
  const app = Fastify({ ...server, forceCloseConnections: true }) as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(concurrency, {
    workers: { jobs: jobs as never, maxThreads: 1, grace: 200, execArgv },
    limiter: { policies: { slow: { rate: 1 / 60, burst: 1, routes: 'named' }, db: { concurrency: 1, maxWait: 60_000, routes: 'named' } } } as never,
    locks: {}
  })
  const workers = app.getDecorator<TestWorkers>('workers')
  routes(app, workers)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, workers, url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}` }
}

t.test('Fastify\'s handlerTimeout ends a job, a wait for a limit, a wait for a lock, a group and request.disconnected', async (t) => {
  const errors: Record<string, Promise<Error & Record<string, unknown>>> = {}
  const held = deferred()
  const { app, workers, url } = await start(t, (app, workers) => {
    const work: Record<string, (request: FastifyRequest) => Promise<unknown>> = {
      job: async () => workers.run('spin', { ms: 60_000 }, { timeout: 60_000 }),
      limit: async () => limits(app).wait('slow', 'key', { timeout: 3_600_000 }),
      bound: async () => limits(app).run('db', () => {}),
      lock: async () => app.locks.mutex('key').runExclusive(() => {}, { timeout: 60_000 }),
      group: async () => app.tasks.group().map([1], async (_item, { signal }) => { await sleep(20_000, undefined, { signal }) }),
      disconnected: async (request) => sleep(20_000, undefined, { signal: request.disconnected })
    }
    app.get('/:what', async (request) => {
      const { what } = request.params as { what: string }
      errors[what] = rejection(work[what]!(request))
      await errors[what]
    })
  })
  void app.locks.mutex('key').runExclusive(() => held.promise)
  void limits(app).run('db', () => held.promise)
  await limits(app).wait('slow', 'key')
  for (const [what, match] of Object.entries({
    job: { code: 'FC_ERR_JOB_ABORTED', cause: { code: 'FST_ERR_HANDLER_TIMEOUT' } },
    limit: { code: 'FC_ERR_LIMIT_WAIT_ABORTED', cause: { code: 'FST_ERR_HANDLER_TIMEOUT' } },
    bound: { code: 'FC_ERR_LIMIT_WAIT_ABORTED', cause: { code: 'FST_ERR_HANDLER_TIMEOUT' } },
    lock: { code: 'FC_ERR_LOCK_ABORTED', cause: { code: 'FST_ERR_HANDLER_TIMEOUT' } },
    group: { code: 'FST_ERR_HANDLER_TIMEOUT' },
    disconnected: { cause: { code: 'FST_ERR_HANDLER_TIMEOUT' } }
  })) {
    t.equal((await fetch(`${url}/${what}`)).status, 503, what)
    t.match(await errors[what], match, what)
  }
  await workers.idle()
  held.resolve()
})

t.test('what a handler starts after Fastify has answered for it is refused at once, unless it is detached', async (t) => {
  const late = deferred<Array<Promise<unknown>>>()
  const { workers, url } = await start(t, (app, workers) => {
    app.get('/', async (_request, reply) => {
      await once(reply.raw, 'close')
      const limiter = limits(app)
      late.resolve([
        rejection(workers.run('echo', 1)),
        rejection(limiter.wait('slow', 'free')),
        rejection(limiter.run('db', () => {})),
        rejection(app.locks.mutex('free').runExclusive(() => {})),
        workers.run('echo', 2, { detached: true }),
        limiter.wait('slow', 'free', { detached: true })
      ])
    })
  })
  t.equal((await fetch(url)).status, 503)
  t.match(await Promise.all(await late.promise), [
    { code: 'FC_ERR_JOB_ABORTED' }, { code: 'FC_ERR_LIMIT_WAIT_ABORTED' }, { code: 'FC_ERR_LIMIT_WAIT_ABORTED' }, { code: 'FC_ERR_LOCK_ABORTED' }, 2, undefined
  ])
  t.match(workers.stats().jobs.echo, { aborted: 1, completed: 1 })
})

t.test('a job and a wait that the handler does not await end with its answer; detached ones go on', async (t) => {
  const outcomes: Array<Promise<unknown>> = []
  const signals: AbortSignal[] = []
  let held: ReturnType<ReturnType<FastifyInstance['locks']['mutex']>['acquire']> | undefined
  const { workers, url } = await start(t, (app, workers) => {
    app.get('/', async (request) => {
      signals.push(request.disconnected)
      outcomes.push(rejection(workers.run('spin', { ms: 60_000 })), rejection(app.locks.mutex('key').acquire()), workers.run('echo', 2, { detached: true }))
      await until(() => workers.stats().running === 1, 'it runs')
      return 'answered'
    })
    held = app.locks.mutex('key').acquire()
  }, {})
  t.equal(await (await fetch(url)).text(), 'answered')
  t.match(await Promise.all(outcomes), [
    { code: 'FC_ERR_JOB_ABORTED', cause: { code: 'FC_ERR_REQUEST_ENDED' } },
    { code: 'FC_ERR_LOCK_ABORTED', cause: { code: 'FC_ERR_REQUEST_ENDED' } },
    2
  ])
  await workers.idle()
  t.equal(signals[0]!.aborted, false, 'nobody has disconnected')
  ;(await held!).release()
})

t.test('jobs of an onResponse hook, and of a stream that is the answer, run', async (t) => {
  const results: unknown[] = []
  const { url } = await start(t, (app, workers) => {
    app.addHook('onResponse', async () => { results.push(await workers.run('echo', 'onResponse')) })
    app.get('/', async () => {
      void workers.run('echo', 'follows the end').catch(() => {})
      const body = new PassThrough()
      void (async () => {
        for (let n = 0; n < 3; n++) body.write(String(await workers.run('echo', n)))
        body.end()
      })()
      return body
    })
  }, {})
  t.equal(await (await fetch(url)).text(), '012')
  await until(() => results.length === 1, 'the hook has run')
  t.same(results, ['onResponse'])
})

t.test('handlerTimeout is the default deadline of jobs and waits: what cannot be answered in time is refused at once', async (t) => {
  const refusals = deferred<Array<Error & Record<string, unknown>>>()
  const { app, workers, url } = await start(t, (app, workers) => {
    app.get('/', { handlerTimeout: 2_000 }, async () => {
      refusals.resolve(await Promise.all([
        rejection(workers.run('spin', { ms: 300 }, { key: '' })),
        rejection(limits(app).wait('slow', 'key'))
      ]))
      return 'refused'
    })
    app.get('/own', { handlerTimeout: 2_000 }, async () => workers.run('echo', 'own', { timeout: 60_000 }))
  }, {})
  await limits(app).wait('slow', 'key')
  // The estimate of spin is that of its last run.
  await workers.run('spin', { ms: 300 })
  const given = new AbortController()
  const ahead = Array.from({ length: 12 }, async () => workers.run('spin', { ms: 300 }, { timeout: 60_000, key: '', signal: given.signal }))
  t.equal(await (await fetch(url)).text(), 'refused')
  t.match(await refusals.promise, [{ code: 'FC_ERR_WORKERS_OVERLOADED', reason: 'deadline' }, { code: 'FC_ERR_LIMITED' }])
  given.abort()
  await Promise.allSettled(ahead)
  t.equal(await (await fetch(`${url}/own`)).text(), 'own')
})

t.test('nothing is made for a request whose end nobody follows', async (t) => {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(async () => app.close())
  await app.register(concurrency)
  app.get('/', async (request) => ({ isMade: request[kEnd] !== null }))
  t.same((await app.inject('/')).json(), { isMade: false })
})
