// Every line of the log that is about a job or a task says of which request, which job or task, and its id.
import Fastify from 'fastify'
import t from 'tap'
import concurrency from '../../plugins/index.ts'
import { jobs } from '../fixtures/jobs.ts'
import { deferred, execArgv, logLines, rejection, startJob, until, type LogLine, type TestWorkers } from '../helper.ts'

t.test('every line of a job or a task carries the request, the name and the id', async (t) => {
  const { lines, logger } = logLines()
  const app = Fastify({ logger, genReqId: (() => { let n = 0; return () => `req-${++n}` })() })
  t.teardown(() => app.close())
  await app.register(concurrency, { workers: { jobs, maxThreads: 1, maxQueue: 1, grace: 20, execArgv }, tasks: { concurrency: 4, grace: 10 } })
  const workers = app.getDecorator<TestWorkers>('workers')
  const done: Record<string, () => Promise<unknown>> = {
    'a job that logs': () => workers.run('talk', 1),
    'a job that fails': () => workers.run('fail', 'type'),
    'a job whose time is over': () => workers.run('brief', { ms: 60_000 }),
    'a job that ignores its abort': async () => {
      const controller = new AbortController()
      const { ended } = await startJob(workers, 'stubborn', { ms: 60_000 }, { signal: controller.signal })
      controller.abort()
      await rejection(ended)
      await until(() => lines.some(({ msg }) => msg.includes('its thread was replaced')), 'its thread is replaced')
    },
    'a job whose progress is unreadable': () => workers.run('deliver', { text: '['.repeat(5_000) + ']'.repeat(5_000), way: 'progress' }, { onProgress: () => {} }),
    'a task that logs, and runs a job': () => app.tasks.submit('outer:1', async ({ log }) => {
      log.info('from a task')
      await workers.run('talk', 1)
    }).done,
    'a task that submits another': () => app.tasks.submit('outer:2', async () => {
      await app.tasks.submit('inner:2', async ({ log }) => {
        log.info('from a task')
        await workers.run('talk', 1)
      }).done
    }).done,
    'a task that is tried again and fails': () => app.tasks.submit('failing:1', () => { throw new Error('no') }, { retries: 1, backoff: { base: 1 } }).done,
    'a task whose retryIf fails': () => app.tasks.submit('retry:1', () => { throw new Error('no') }, { retries: 1, retryIf: () => { throw new Error('nor I') } }).done,
    'a task that ignores its signal': async () => {
      const release = deferred()
      const handle = app.tasks.submit('deaf:1', () => release.promise, { timeout: 5 })
      await rejection(handle.done)
      release.resolve()
    },
    'a task that is cancelled': () => {
      const handle = app.tasks.submit('cancelled:1', async () => {}, { delay: 60_000 })
      handle.cancel()
      return handle.done
    },
    'a group of a task that fails': () => app.tasks.submit('grouped:1', async () => {
      const group = app.tasks.group()
      await group.go(() => { throw new Error('of a group') })
      void group.wait()
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    }).done
  }
  app.get('/:what', async (request) => {
    await Promise.allSettled([done[(request.params as { what: string }).what]?.()])
    return 'ok'
  })
  await app.ready()

  const ofFastify = ['incoming request', 'request completed']
  for (const what of Object.keys(done)) {
    const from = lines.length
    await app.inject(`/${encodeURIComponent(what)}`)
    await Promise.all([workers.idle(), app.tasks.idle()])
    const about = lines.slice(from).filter(({ msg }) => !ofFastify.includes(msg))
    const reqId = lines[from]?.['reqId']
    t.ok(about.length > 0, what)
    for (const line of about) {
      t.equal(line['reqId'], reqId, `${what}: ${line.msg}`)
      t.ok(isNamed(line), `${what}: ${line.msg} names a job or a task`)
    }
  }
})

const isNamed = ({ job, jobId, task }: LogLine): boolean =>
  (typeof job === 'string' && typeof jobId === 'number') || (typeof task === 'string' && task.includes(':'))
