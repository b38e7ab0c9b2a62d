import t from 'tap'
import Fastify from 'fastify'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import suite from '../../plugins/index.ts'
import workersPlugin from '../../plugins/workers/index.ts'
import { jobs } from '../fixtures/jobs.ts'
import { execArgv, logLines, rejection, startApp, startJob, until, type TestWorkers } from '../helper.ts'

for (const maxThreads of [1, 2, 4]) {
  t.test(`close() with running and queued jobs on ${maxThreads} threads: all succeed`, async (t) => {
    const { app, workers } = await startApp(t, { maxThreads, maxWait: Infinity, targetWait: 60_000 })
    const accepted = Array.from({ length: 12 }, () => workers.run('spin', { ms: 30 }))
    await until(() => workers.stats().running === maxThreads, 'all threads run')
    const closed = app.close()
    t.same(await Promise.all(accepted), accepted.map(() => 'done'))
    await closed
    t.match(workers.stats(), { threads: 0, running: 0, waiting: 0 })
  })
}

t.test('close() of requests in flight: their jobs are accepted until they have answered', async (t) => {
  const { app, workers } = await startApp(t, {}, {}, (app, workers) => {
    app.get('/', async () => [await workers.run('spin', { ms: 100 }), await workers.run('spin', { ms: 1 })])
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const response = fetch(app.listeningOrigin, { headers: { connection: 'close' } }) // else Fastify's close() waits for the idle connection
  await until(() => workers.stats().running === 1, 'the first job runs')
  const closed = app.close()
  t.same(await (await response).json(), ['done', 'done'])
  await closed
})

t.test('past closeTimeout, jobs that are left are aborted, then their threads are ended, and the log names them', async (t) => {
  const { lines, logger } = logLines()
  const { app, workers } = await startApp(t, { closeTimeout: 50, grace: 50, maxThreads: 2 }, { logger })
  const left = [rejection(workers.run('spin', { ms: 60_000 })), rejection(workers.run('stubborn', { ms: Infinity })), rejection(workers.run('echo', 'queued'))]
  await until(() => workers.stats().running === 2, 'both threads run')
  await app.close()
  for (const error of await Promise.all(left)) t.match(error, { code: 'FC_ERR_CLOSING', statusCode: 503, message: 'The pool "workers" is closing, and has given this work up' })
  t.match(lines.find(({ msg }) => /closing gave up/.test(msg)), {
    level: 50,
    name: 'workers',
    unfinished: [{ kind: 'job', name: 'spin', id: '1', ageMs: Number, attempt: 1 }, { name: 'stubborn', attempt: 1 }, { name: 'echo', attempt: 0 }]
  })
})

t.test('a job that ignores its abort holds up no close(), though its own grace has no end', async (t) => {
  const { app, workers } = await startApp(t, { closeTimeout: 50, grace: Infinity })
  const { ended } = await startJob(workers, 'stubborn', { ms: Infinity })
  await app.close()
  t.match(await rejection(ended), { code: 'FC_ERR_CLOSING' })
})

t.test('the suite: shutdown() drains the jobs, then closes, and reports', async (t) => {
  const app = Fastify()
  await app.register(suite, { workers: { jobs, maxThreads: 2, execArgv, grace: 50 }, lifecycle: { timeout: 5_000 } })
  await app.ready()
  const workers = app.getDecorator<TestWorkers>('workers')
  const accepted = [1, 2, 3, 4].map(() => workers.run('spin', { ms: 50 }))
  const report = await app.lifecycle.shutdown('test')
  t.same(await Promise.all(accepted), ['done', 'done', 'done', 'done'])
  t.match(report, { reason: 'test', completed: 4, unfinished: [] })
  t.match(await rejection(workers.run('echo', 1)), { code: 'FC_ERR_CLOSING' })
})

t.test('the suite: past its timeout the report names the jobs', async (t) => {
  const app = Fastify()
  await app.register(suite, { workers: { jobs, maxThreads: 1, execArgv }, lifecycle: { timeout: 100, grace: 50 } })
  await app.ready()
  const workers = app.getDecorator<TestWorkers>('workers')
  const left = rejection(workers.run('stubborn', { ms: Infinity }))
  await until(() => workers.stats().running === 1, 'it runs')
  t.match(await app.lifecycle.shutdown('test'), { unfinished: [{ kind: 'job', name: 'stubborn', attempt: 1 }] })
  t.match(await left, { code: 'FC_ERR_CLOSING' })
})

t.test('the suite: past its timeout, jobs that ignore an earlier abort are named and ended too, whatever their own grace', async (t) => {
  const app = Fastify()
  await app.register(suite, { workers: { jobs, maxThreads: 1, execArgv, grace: Infinity }, lifecycle: { timeout: 100, grace: 50 } })
  await app.ready()
  const workers = app.getDecorator<TestWorkers>('workers')
  const controller = new AbortController()
  const { ended } = await startJob(workers, 'stubborn', { ms: Infinity }, { signal: controller.signal })
  controller.abort()
  t.match(await rejection(ended), { code: 'FC_ERR_JOB_ABORTED' })
  t.match(await app.lifecycle.shutdown('test'), { unfinished: [{ kind: 'job', name: 'stubborn', attempt: 1 }] })
})

t.test('close() twice, during boot, and before it', async (t) => {
  const { app } = await startApp(t)
  await Promise.all([app.close(), app.close()])

  const booting = Fastify()
  await booting.register(workersPlugin, { jobs, maxThreads: 2, execArgv })
  // As without a pool, both resolve.
  await Promise.all([booting.ready(), booting.close()])

  const never = Fastify()
  never.register(workersPlugin, { jobs, maxThreads: 1, execArgv })
  await never.close()
})

t.test('a process: SIGTERM under work ends by itself with every job answered, and an idle pool holds nothing open', async (t) => {
  const child = (mode: string) => fork(new URL('../fixtures/process.ts', import.meta.url), [mode], { execArgv, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })

  t.test('SIGTERM', async (t) => {
    const process = child('serve')
    let out = ''
    process.stdout?.on('data', (chunk: Buffer) => { out += chunk.toString() })
    await once(process, 'message')
    process.kill('SIGTERM')
    const [code, signal] = await once(process, 'exit')
    t.same([code, signal], [0, null])
    t.match(out, /completed: 6, failed: 0/)
  })

  t.test('idle, without close()', async (t) => {
    const process = child('idle')
    const [code, signal] = await once(process, 'exit')
    t.same([code, signal], [0, null])
  })

  t.test('a broken jobs file', async (t) => {
    const process = child('broken')
    const [code] = await once(process, 'exit')
    t.equal(code, 0)
  })
})
