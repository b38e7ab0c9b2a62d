// stats(), the metrics and the page are three views of one account: work of each kind is the same number in all of them.
import Fastify from 'fastify'
import t from 'tap'
import { sampleOf, sum, type Sample } from '../../plugins/dashboard/sample.ts'
import concurrency from '../../plugins/index.ts'
import { defineTasks } from '../../plugins/tasks/index.ts'
import { jobs } from '../fixtures/jobs.ts'
import { deferred, execArgv, rejection, startJob, until, type TestWorkers } from '../helper.ts'

/** Returns the sum of a metric's values over the labels that are not given. */
function valueOf (text: string, name: string, labels: Record<string, string> = {}): number {
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  const own = lines.filter((line) => Object.entries(labels).every(([label, value]) => line.includes(`${label}="${value}"`)))
  return sum(own.map((line) => Number(line.slice(line.lastIndexOf(' ') + 1))))
}

t.test('jobs, tasks, limits, locks and requests: stats(), Prometheus\' text and a sample of the page say the same', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const end = deferred()
  let tries = 0
  const tasks = defineTasks({
    fine: { handler () {} },
    broken: { handler: () => { throw new Error('x') } },
    flaky: { handler: () => { if (++tries < 3) throw new Error('again') }, retries: 2, backoff: { base: 1, max: 1 } },
    long: { handler: async () => await end.promise }
  })
  await app.register(concurrency, {
    workers: { jobs, maxThreads: 1, maxQueue: 1, grace: 50, execArgv },
    tasks: { tasks, concurrency: 4, maxQueue: 1 },
    limiter: { policies: { plan: { rate: 0.001, burst: 3 } } },
    locks: { maxWaiting: 1 },
    metrics: { path: '/metrics' }
  } as never)
  await app.ready()
  const workers = app.getDecorator<TestWorkers>('workers')
  const enqueue = app.tasks.enqueue.bind(app.tasks) as unknown as (name: string) => Promise<{ done: Promise<unknown> }>
  const read = app.metrics.reader()
  const before = { at: 0, metrics: read() }

  for (let n = 0; n < 3; n++) await workers.run('echo', n)
  await rejection(workers.run('fail', 'custom'))
  await rejection(workers.run('brief', { ms: 60_000 }))
  await startJob(workers, 'rest', { ms: 60_000 })
  const waits = workers.run('echo', 9, { timeout: 30_000 })
  await rejection(workers.run('echo', 10))

  for (let n = 0; n < 2; n++) await (await enqueue('fine')).done
  await rejection((await enqueue('broken')).done)
  await (await enqueue('flaky')).done
  for (let n = 0; n < 5; n++) await enqueue('long')
  await until(() => app.tasks.stats().running === 4 && app.tasks.stats().waiting === 1, 'four run and one waits')
  await rejection(enqueue('long'))

  for (let n = 0; n < 5; n++) await app.limiter.allow('plan' as never, 'ada')
  const mutex = app.locks.mutex('m')
  const lock = await mutex.acquire()
  const next = mutex.acquire()
  await rejection(mutex.acquire())

  const after = { at: 1_000, metrics: read() }
  const sample: Sample = sampleOf(before, before, after, Date.now())
  const { body: text } = await app.inject('/metrics')
  const [pool, own] = [workers.stats(), app.tasks.stats()]
  const metric = (name: string, labels?: Record<string, string>): number => valueOf(text, `fastify_concurrency_${name}`, labels)
  const ofJobs = (count: (job: Sample['jobs'][number]) => number): number => sum(sample.jobs.map(count))
  const ofStats = (count: (job: typeof pool.jobs[keyof typeof pool.jobs]) => number): number => sum(Object.values(pool.jobs).map(count))

  for (const outcome of ['completed', 'failed', 'expired', 'aborted', 'crashed'] as const) {
    t.strictSame([metric('jobs_total', { outcome }), ofJobs((job) => job[outcome])], Array(2).fill(ofStats((job) => job[outcome])), `jobs ${outcome}`)
  }
  t.equal(ofStats(({ completed }) => completed), 3)
  const refused = ofStats((job) => sum(Object.values(job.refused)))
  t.strictSame([refused, metric('jobs_refused_total'), ofJobs((job) => sum(Object.values(job.refused)))], [1, 1, 1], 'jobs refused')
  const [gauges] = sample.pools
  t.strictSame([[gauges?.running, gauges?.waiting], [metric('pool_jobs_running'), metric('pool_jobs_waiting')]], Array(2).fill([pool.running, pool.waiting]), 'the pool')
  t.strictSame([pool.running, pool.waiting], [1, 1])

  for (const outcome of ['completed', 'failed', 'aborted'] as const) {
    t.equal(metric('tasks_total', { outcome }), own[outcome], `tasks ${outcome}, Prometheus`)
    if (outcome !== 'aborted') t.equal(sample.tasks[outcome], own[outcome], `tasks ${outcome}, page`)
  }
  t.match(own, { running: 4, waiting: 1, completed: 3, failed: 1, retried: 2, aborted: 0 })
  t.match(sample.tasks, { running: 4, waiting: 1, completed: 3, failed: 1, retried: 2, refused: { full: 1 } })
  t.strictSame(['tasks_running', 'tasks_waiting', 'task_retries_total', 'tasks_refused_total'].map((name) => metric(name)), [4, 1, 2, 1])

  t.match(sample.limits, [{ policy: 'plan', granted: 3, refused: 2 }])
  t.strictSame([metric('limiter_granted_total'), metric('limiter_refused_total')], [3, 2])
  t.strictSame([sample.locks.refused, metric('locks_refused_total'), metric('locks_acquired_total')], [{ full: 1, timeout: 0, closing: 0 }, 1, 1])
  t.match(app.locks.stats(), { holding: 1, waiting: 1 })
  t.equal(gauges?.arrived, 3 + 1 + 1 + 1 + 2, 'jobs that have ended, were refused, run or wait')

  end.resolve()
  lock.release()
  const last = await next
  last.release()
  workers.cancel(workers.running()[0]?.id ?? '')
  await waits
})
