import t from 'tap'
import Fastify from 'fastify'
import workersPlugin, { type Workers } from '../../plugins/workers/index.ts'
import { jobs } from '../fixtures/jobs.ts'
import { execArgv, holdThread, logLines, rejection, startApp, until } from '../helper.ts'

t.test('errors survive the boundary', async (t) => {
  const { workers } = await startApp(t)

  t.test('a custom class keeps name, code, status code, cause and own cloneable fields', async (t) => {
    const error = await rejection(workers.run('fail', 'custom'))
    t.match(error, { name: 'QuotaError', message: 'too many', code: 'E_QUOTA', statusCode: 402, limit: { max: 3, unit: 'images' } })
    t.ok(error instanceof Error)
    t.ok(error.cause instanceof TypeError)
    t.match(error.stack, /fixtures\/jobs\/fail\.ts/, 'the stack is the job\'s')
    t.notOk('callback' in error, 'a field that can\'t be cloned is left out')
  })

  t.test('a native class is that class', async (t) => {
    t.ok(await rejection(workers.run('fail', 'type')) instanceof TypeError)
  })

  t.test('an AggregateError keeps its errors', async (t) => {
    const error = await rejection(workers.run('fail', 'aggregate'))
    t.ok(error instanceof AggregateError)
    t.match(error['errors'], [{ name: 'RangeError', message: 'one' }, { code: 'E_QUOTA', statusCode: 402 }])
  })

  t.test('a DOMException is one, with its legacy code', async (t) => {
    const error = await rejection(workers.run('fail', 'dom'))
    t.ok(error instanceof DOMException)
    t.match({ name: error.name, code: error['code'] }, { name: 'QuotaExceededError', code: 22 })
  })

  t.test('an error that is its own cause arrives', async (t) => {
    t.match(await rejection(workers.run('fail', 'circular')), { message: 'round', cause: { message: 'round' } })
  })

  for (const [how, what, cause] of [['null', 'null', null], ['string', '"text"', 'text'], ['undefined', 'undefined', undefined]] as const) {
    t.test(`what is no error rejects too: ${how}`, async (t) => {
      const error = await rejection(workers.run('fail', how))
      t.match(error, { code: 'FC_ERR_JOB_THREW', statusCode: 500, message: `The job "fail" threw ${what}, which is not an Error` })
      t.equal(error.cause, cause)
    })
  }

  t.test('a payload that can\'t be cloned names its path, and harms no neighbour of the same burst', async (t) => {
    await workers.map('echo', Array.from({ length: 50 }, (_, n) => n))
    const burst = [1, 2, { items: [{ onDone: () => {} }] }, 3, 4].map((payload) => workers.run('echo', payload))
    const settled = await Promise.allSettled(burst)
    t.same(settled.map((each) => each.status === 'fulfilled' ? each.value : (each.reason as { code: string }).code), [1, 2, 'FC_ERR_PAYLOAD_NOT_CLONEABLE', 3, 4])
    t.match(await rejection(workers.run('echo', { items: [{ onDone: () => {} }] })), { statusCode: 500, message: /payload\.items\[0\]\.onDone/, cause: { name: 'DataCloneError' } })
  })

  t.test('a result that can\'t be cloned names its path, and the thread lives on', async (t) => {
    const { threadId } = await workers.run('inspect')
    t.match(await rejection(workers.run('fail', 'uncloneable')), { code: 'FC_ERR_RESULT_NOT_CLONEABLE', statusCode: 500, message: /result\.list\[1\]\.onDone/, cause: { name: 'DataCloneError' } })
    t.equal((await workers.run('inspect')).threadId, threadId)
  })

  t.test('the caller\'s reason reaches the job\'s signal with its code', async (t) => {
    const controller = new AbortController()
    const seen: unknown[] = []
    const running = rejection(workers.run('reason', null, { signal: controller.signal, onProgress: (value) => { seen.push(value) } }))
    await until(() => seen.length === 1, 'the job listens')
    controller.abort(Object.assign(new RangeError('enough'), { code: 'E_ENOUGH' }))
    t.match(await running, { code: 'FC_ERR_JOB_ABORTED', statusCode: 499, cause: { code: 'E_ENOUGH' } })
  })
})

t.test('what a job throws is what the client is told', async (t) => {
  const { app } = await startApp(t, {}, {}, (app, workers) => app.get('/', async () => workers.run('fail', 'custom')))
  const response = await app.inject('/')
  t.equal(response.statusCode, 402)
  t.match(response.json(), { code: 'E_QUOTA', message: 'too many' })
})

t.test('a crash is contained', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2, resourceLimits: { maxOldGenerationSizeMb: 128 }, maxWait: Infinity, targetWait: 60_000 })

  for (const [how, message] of [
    ['exit', /lost its thread: exited with code 3/],
    ['uncaught', /an uncaught error/],
    ['unhandled', /an uncaught error/],
    ['memory', /out of memory/]
  ] as const) {
    t.test(`${how}: the job rejects, its neighbours don't, and the pool recovers`, async (t) => {
      const neighbours = [workers.run('spin', { ms: 50 }), workers.run('echo', 'after')]
      t.match(await rejection(workers.run('die', how)), { code: 'FC_ERR_JOB_CRASHED', statusCode: 500, message, cause: { message: String } })
      t.same(await Promise.all(neighbours), ['done', 'after'])
      t.equal(await workers.run('echo', 'recovered'), 'recovered')
    })
  }

  t.test('a thread that is out of memory again and again never ends the process', async (t) => {
    for (let n = 0; n < 5; n++) t.match(await rejection(workers.run('die', 'memory')), { code: 'FC_ERR_JOB_CRASHED' })
  })

  t.test('jobs prefetched by a thread that dies run elsewhere, once', async (t) => {
    const counts = new Int32Array(new SharedArrayBuffer(4 * 200))
    await workers.map('count', Array.from({ length: 100 }, () => ({ counts: new Int32Array(new SharedArrayBuffer(4)), at: 0 })))
    const jobs = Array.from({ length: 200 }, (_, at) => rejection(workers.run('count', { counts, at, die: at === 20 || at === 120 })).then(({ code }) => code, () => 'completed'))
    const ended = await Promise.all(jobs)
    t.same(ended.map((code, at) => code === 'completed' ? at : -1).filter((at) => at >= 0), [...counts.keys()].filter((at) => at !== 20 && at !== 120))
    t.ok(counts.every((count) => count === 1), 'nothing ran twice')
  })
})

t.test('jobs that a thread never started run on another, in order; a job whose payload had moved is lost', async (t) => {
  const { workers } = await startApp(t)
  await workers.map('echo', Array.from({ length: 300 }, (_, n) => n))
  const first = await holdThread(workers)
  const again = workers.run('talk', 0)
  process.nextTick(first.end)
  t.match(await again, { attempt: 2 })

  const second = await holdThread(workers)
  const order: number[] = []
  const burst = Array.from({ length: 20 }, async (_, n) => { order.push(await workers.run('echo', n) as number) })
  process.nextTick(second.end)
  await Promise.all(burst)
  t.same(order, burst.map((_, n) => n))

  const third = await holdThread(workers)
  const buffer = new ArrayBuffer(16)
  const moved = rejection(workers.run('echo', buffer, { transferList: [buffer] }))
  process.nextTick(third.end)
  t.match(await moved, { code: 'FC_ERR_JOB_CRASHED', message: /its payload had moved/ })
  t.match(workers.stats().jobs, { echo: { crashed: 1 }, talk: { crashed: 0 } })
})

t.test('a crash that nobody awaits yet is no unhandled rejection', async (t) => {
  const { workers } = await startApp(t)
  const unheard = workers.run('die', 'exit') // tap fails the test otherwise
  await workers.idle()
  await new Promise((resolve) => setImmediate(resolve))
  t.match(await rejection(unheard), { code: 'FC_ERR_JOB_CRASHED' })
})

t.test('jobs prefetched behind one that is longer than expected run on a thread that is free', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2 })
  await workers.map('spin', Array.from({ length: 300 }, () => ({ ms: 0 })))
  const controller = new AbortController()
  const long = rejection(workers.run('spin', { ms: 60_000 }, { signal: controller.signal }))
  const behind = Array.from({ length: 20 }, () => workers.run('spin', { ms: 0 }, { timeout: 10_000 }))
  t.same(await Promise.all(behind), behind.map(() => 'done'))
  controller.abort()
  await long
  await workers.idle()
})

t.test('a job whose payload moves is not prefetched', async (t) => {
  const { workers } = await startApp(t, { maxThreads: 2 })
  await workers.map('spin', Array.from({ length: 300 }, () => ({ ms: 0 })))
  await workers.map('echo', Array.from({ length: 300 }, (_, n) => n))
  const controller = new AbortController()
  const long = rejection(workers.run('spin', { ms: 60_000 }, { signal: controller.signal }))
  const buffer = new ArrayBuffer(16)
  t.match(await workers.run('echo', buffer, { transferList: [buffer], timeout: 10_000 }), { byteLength: 16 })
  controller.abort()
  await long
})

t.test('a thread that dies while it runs nothing is replaced, and the log says so', async (t) => {
  const { lines, logger } = logLines()
  const { workers } = await startApp(t, {}, { logger })
  const { threadId } = await workers.run('inspect')
  await workers.run('later', 'unhandled')
  await until(() => workers.stats().threads === 0, 'the thread has died')
  t.match(lines.filter(({ level }) => level === 50), [{ pool: 'workers', msg: 'a worker thread died while it ran no job', err: { message: 'left behind' } }])
  t.not((await workers.run('inspect')).threadId, threadId)
})

t.test('a broken jobs file fails at boot, with its cause', async (t) => {
  for (const [file, message, cause] of [
    ['throws', /can't be imported/, 'broken on purpose'],
    ['job-throws', /"bad" can't be loaded/, 'this job is broken'],
    ['not-a-function', /"bad" isn't a function.*gave a, b/, undefined],
    ['exits', /ended while it loaded.*exited with code 4/, undefined],
    ['two', /twice/, undefined],
    ['starts-app', /starts the application in a worker thread/, undefined],
    ['starts-app-later', /starts the application in a worker thread/, undefined]
  ] as const) {
    t.test(file, async (t) => {
      const { jobs: broken } = await import(`../fixtures/broken/${file}.ts`) as { jobs: typeof jobs }
      const app = Fastify()
      app.register(workersPlugin, { jobs: broken, maxThreads: 2, execArgv })
      const error = await rejection(Promise.resolve(app.ready()))
      t.match(error, { code: 'FC_ERR_JOBS_INVALID', message })
      if (cause !== undefined) t.match(error.cause, { message: cause })
      await app.close()
    })
  }

  t.test('jobs that were run before the failed boot reject with its cause, and so do later ones', async (t) => {
    const { jobs: broken } = await import('../fixtures/broken/throws.ts')
    const app = Fastify()
    await app.register(workersPlugin, { jobs: broken, maxThreads: 1, execArgv })
    const { run, idle } = app.getDecorator<Workers<typeof broken>>('workers')
    const early = run('bad', 1)
    t.match(await rejection(early), { code: 'FC_ERR_JOBS_INVALID', cause: { message: 'broken on purpose' } })
    t.match(await rejection(run('bad', 1)), { code: 'FC_ERR_JOBS_INVALID', cause: { message: 'broken on purpose' } })
    await idle()
    await app.close()
    t.match(await rejection(run('bad', 1)), { code: 'FC_ERR_CLOSING' })
  })

  t.test('a file that takes too long is named before Fastify gives up, and leaves no thread', async (t) => {
    const { jobs: slow } = await import('../fixtures/broken/never.ts')
    const app = Fastify({ pluginTimeout: 2_000 })
    app.register(workersPlugin, { jobs: slow, maxThreads: 2, execArgv })
    t.match(await rejection(Promise.resolve(app.ready())), { code: 'FC_ERR_JOBS_INVALID', message: /have not loaded .*never\.ts within 1800 ms.*pluginTimeout/ })
    await app.close()
  })

  t.test('TypeScript in a thread without a loader: the error names the page that helps', async (t) => {
    const app = Fastify()
    // Node's words; the threads of this test have a loader.
    const url = 'data:text/javascript,throw new TypeError(\'Unknown file extension ".ts" for /app/jobs.ts\')'
    app.register(workersPlugin, { jobs: { ...jobs, url } as typeof jobs, maxThreads: 1, execArgv })
    t.match(await rejection(Promise.resolve(app.ready())), { code: 'FC_ERR_JOBS_INVALID', message: /no loader for TypeScript: see docs\/typescript-and-bundlers.md/ })
    await app.close()
  })

  t.test('pluginTimeout 0 is no limit', async (t) => {
    const app = Fastify({ pluginTimeout: 0 })
    t.teardown(() => app.close())
    await app.register(workersPlugin, { jobs, maxThreads: 1, execArgv })
    await t.resolves(Promise.resolve(app.ready()))
  })

  t.test('a file that isn\'t there', async (t) => {
    const app = Fastify()
    app.register(workersPlugin, { jobs: { ...jobs, url: 'file:///nowhere/jobs.js' } as typeof jobs, maxThreads: 1, execArgv })
    t.match(await rejection(Promise.resolve(app.ready())), { code: 'FC_ERR_JOBS_INVALID', message: /nowhere/, cause: { code: 'ERR_MODULE_NOT_FOUND' } })
    await app.close()
  })
})
