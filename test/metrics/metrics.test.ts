// What the metrics count, in a snapshot and as Prometheus' text.
import Fastify, { type FastifyInstance } from 'fastify'
import { Counter, Registry } from 'prom-client'
import t, { type Test } from 'tap'
import concurrency from '../../plugins/index.ts'
import type { ConcurrencyOptions } from '../../plugins/index.ts'
import metrics, { bucketBounds, type JobMetrics, type MetricsSnapshot } from '../../plugins/metrics/index.ts'
import { defineTasks, type EngineFactory } from '../../plugins/tasks/index.ts'
import { memoryEngine } from '../../plugins/tasks/named/engine.ts'
import { assertIdle } from '../../plugins/testing.ts'
import * as limiterChannels from '../../plugins/limiter/channels.ts'
import * as workersChannels from '../../plugins/workers/channels.ts'
import { jobs } from '../fixtures/jobs.ts'
import { deferred, execArgv, rejection, startJob, until, type TestJobs, type TestWorkers } from '../helper.ts'

async function start (t: Test, options: ConcurrencyOptions<TestJobs>): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await app.register(concurrency, { workers: { jobs, maxThreads: 1, grace: 100, execArgv }, metrics: {}, ...options })
  await app.ready()
  return app
}

const workersOf = (app: FastifyInstance): TestWorkers => app.getDecorator<TestWorkers>('workers')
/** Those of the defined jobs that have ended. */
const countedJobs = (app: FastifyInstance): JobMetrics[] => app.metrics.snapshot().jobs.filter(({ completed, crashed }) => completed + crashed > 0)
const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0)

t.test('jobs are counted by how they ended, and their durations by bucket', async (t) => {
  const app = await start(t, { workers: { jobs, maxThreads: 1, maxQueue: 1, grace: 50, execArgv } })
  const workers = workersOf(app)
  await workers.run('echo', 1)
  await workers.run('spin', { ms: 20 })
  await rejection(workers.run('fail', 'custom'))
  await rejection(workers.run('brief', { ms: 60_000 }))
  const { ended } = await startJob(workers, 'spin', { ms: 60_000 }, { timeout: 300 })
  const waiting = workers.run('echo', 2, { timeout: 100 })
  t.match(await rejection(workers.run('echo', 3)), { code: 'FC_ERR_WORKERS_OVERLOADED' })
  await Promise.allSettled([waiting, ended])
  const controller = new AbortController()
  const { ended: aborted } = await startJob(workers, 'spin', { ms: 60_000 }, { signal: controller.signal })
  t.match(app.metrics.snapshot().pools, [{ pool: 'workers', maxThreads: 1, threads: 1, running: 1, waiting: 0 }])
  controller.abort()
  await rejection(aborted)

  const { jobs: counted } = app.metrics.snapshot()
  const of = (name: string): typeof counted[number] | undefined => counted.find((job) => job.name === name)
  t.match(of('echo'), { pool: 'workers', completed: 1, failed: 0, refused: { count: 1, wait: 0, shed: 0 } })
  t.match(of('fail'), { completed: 0, failed: 1 })
  // On a busy machine a deadline may be over before a thread has looked at the job.
  for (const name of ['echo', 'brief']) t.equal((of(name)?.expired ?? 0) + (of(name)?.refused.deadline ?? 0), 1, name)
  t.match(of('spin'), { completed: 1, aborted: 1, expired: 1, run: { count: 1 }, wait: { count: 1 } })
  const { run } = of('spin') ?? t.fail('spin is counted') as never
  t.equal(run.buckets.length, bucketBounds.length + 1)
  t.equal(sum(run.buckets), run.count)
  t.ok(run.sum >= 20, 'the sum is in milliseconds')
  t.equal(sum(run.buckets.slice(0, bucketBounds.findIndex((bound) => bound >= 20))), 0, 'a job of 20 ms is in no bucket below')
})

t.test('a job that loses its thread is counted as crashed', async (t) => {
  const app = await start(t, {})
  const workers = workersOf(app)
  t.match(await rejection(workers.run('die', 'exit')), { code: 'FC_ERR_JOB_CRASHED' })
  t.match(countedJobs(app), [{ name: 'die', crashed: 1, completed: 0 }])
})

t.test('tasks are counted by name and outcome', async (t) => {
  const app = await start(t, { workers: false, tasks: { concurrency: 1, maxQueue: 1 } })
  await app.tasks.submit('mail:1', async () => {}).done
  let attempts = 0
  await app.tasks.submit('mail:2', async () => { if (++attempts === 1) throw new Error('again') }, { retries: 1, backoff: { base: 1 } }).done
  await rejection(app.tasks.submit('mail:3', async () => { throw new Error('no') }).done)
  t.match(app.metrics.snapshot(), { tasksRunning: 0, tasksWaiting: 0, tasks: [{ name: 'mail', completed: 2, failed: 1, retried: 1, aborted: 0, refused: { full: 0, store: 0, closing: 0 }, duplicate: 0, wait: { count: 3 }, run: { count: 2 } }] })
})

t.test('a task with an id that waits or runs is a duplicate, and no refusal: the service is short of nothing', async (t) => {
  const app = await start(t, { workers: false, tasks: { concurrency: 1, maxQueue: 0 }, metrics: { path: '/metrics' } })
  const ends = deferred()
  const { done } = app.tasks.submit('mail:1', async () => ends.promise)
  t.throws(() => app.tasks.submit('mail:1', async () => {}), { code: 'FC_ERR_TASK_DUPLICATE' })
  t.throws(() => app.tasks.submit('mail:2', async () => {}), { code: 'FC_ERR_TASKS_FULL' })
  t.throws(() => app.tasks.submit('mail:3', async () => {}, { retries: -1 }), { code: 'FC_ERR_OPTION_INVALID' })
  t.match(app.metrics.snapshot().tasks, [{ name: 'mail', refused: { full: 1, store: 0, closing: 0 }, duplicate: 1 }])
  const { body } = await app.inject('/metrics')
  for (const sample of ['tasks_total{task="mail",outcome="refused"} 1', 'tasks_total{task="mail",outcome="duplicate"} 1', 'tasks_refused_total{task="mail",reason="full"} 1']) t.match(body, sample)
  ends.resolve()
  await done
})

t.test('calls of a pool and of locks in a shutdown are refusals, by reason', async (t) => {
  const app = Fastify()
  await app.register(concurrency, { workers: { jobs, maxThreads: 1, grace: 100, execArgv }, metrics: {} })
  let snapshot: MetricsSnapshot | undefined
  // Registered last, it is the first one that runs: the suite has drained, and still listens.
  app.addHook('onClose', async () => {
    t.match(await rejection(workersOf(app).run('echo', 1)), { code: 'FC_ERR_CLOSING' })
    t.match(await rejection(app.locks.mutex('a').acquire()), { code: 'FC_ERR_CLOSING' })
    snapshot = app.metrics.snapshot()
  })
  await app.ready()
  await app.close()
  t.match(snapshot?.jobs.find(({ name }) => name === 'echo'), { refused: { closing: 1 }, failed: 0 })
  t.match(snapshot?.locks, [{ kind: 'mutex', refused: { closing: 1 } }])
})

t.test('an engine of tasks is asked one question at a time, and one that can\'t answer knows of nothing', async (t) => {
  let asked = 0
  let answer: () => Promise<never[]> = async () => []
  const factory: EngineFactory = (host) => Object.assign(memoryEngine(host), { queues: async () => { asked++; return answer() } })
  const app = await start(t, { workers: false, tasks: { tasks: defineTasks({ mail: { handler () {} } }), engine: factory } })
  const answered = deferred()
  answer = async () => { await answered.promise; return [] }
  const before = asked
  for (let n = 0; n < 3; n++) app.metrics.snapshot()
  t.equal(asked, before + 1)
  answered.resolve()
  answer = async () => { throw new Error('Redis is away') }
  await until(() => { app.metrics.snapshot(); return asked > before + 2 }, 'it is asked again')
  t.strictSame(app.metrics.snapshot().queues, [])
})

t.test('locks are counted by kind, never by key', async (t) => {
  const app = await start(t, { workers: false, metrics: { path: '/metrics' } })
  const lock = await app.locks.semaphore('secret-key', 1).acquire()
  t.match(await rejection(app.locks.semaphore('secret-key', 1).acquire({ timeout: 0 })), { code: 'FC_ERR_LOCK_TIMEOUT' })
  lock.release()
  t.match(app.metrics.snapshot().locks, [{ kind: 'semaphore', acquired: 1, refused: { full: 0, timeout: 1, closing: 0 }, wait: { count: 1 } }])
  t.notMatch((await app.inject('/metrics')).body, 'secret-key')
})

t.test('refusals of the limiter are counted by policy, never by key', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(concurrency, { limiter: { policies: { few: { rate: 0.001, burst: 1, key: { header: 'x-key' } } } }, metrics: { path: '/metrics' } })
  app.get('/', async () => 'ok')
  await app.inject({ url: '/', headers: { 'x-key': 'secret-key' } })
  await app.inject({ url: '/', headers: { 'x-key': 'secret-key' } })
  t.strictSame(app.metrics.snapshot().limits, [{ policy: 'few', granted: 1, refused: 1, bound: undefined }])
  const { body } = await app.inject({ url: '/metrics', headers: { 'x-key': 'scraper' } })
  t.match(body, 'fastify_concurrency_limiter_granted_total{policy="few"} 1', 'the scrape itself is not limited')
  t.match(body, 'fastify_concurrency_limiter_refused_total{policy="few"} 1')
  t.notMatch(body, 'secret-key')
})

t.test('Prometheus gets seconds, cumulative buckets and escaped names', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(metrics, { path: '/metrics', prefix: 'app_' })
  await app.register(concurrency, { workers: { jobs, maxThreads: 1, execArgv } })
  await app.ready()
  const workers = workersOf(app)
  await workers.run('spin', { ms: 30 })
  await app.tasks.submit('a "quoted"\nname:1', async () => {}).done
  const { body, headers } = await app.inject('/metrics')
  t.match(headers['content-type'], /^text\/plain/)
  t.match(body, 'app_jobs_total{pool="workers",job="spin",outcome="completed"} 1')
  t.match(body, 'app_job_run_seconds_bucket{pool="workers",job="spin",le="0.01"} 0')
  t.match(body, 'app_job_run_seconds_bucket{pool="workers",job="spin",le="30"} 1', 'each bucket counts those below it, too')
  t.match(body, 'app_job_run_seconds_bucket{pool="workers",job="spin",le="+Inf"} 1')
  t.match(body, 'app_job_run_seconds_count{pool="workers",job="spin"} 1')
  const seconds = Number(/app_job_run_seconds_sum\{.*job="spin"\} (.*)/.exec(body)?.[1])
  t.ok(seconds >= 0.03 && seconds < 10)
  t.match(body, 'app_phase{phase="serving"} 1')
  t.match(body, /app_event_loop_utilization 0\.\d+/)
  t.match(body, 'app_tasks_total{task="a \\"quoted\\"\\nname",outcome="completed"} 1')
  await workers.run('spin', { ms: 1 })
  // Scrapes in one turn of the event loop share a snapshot.
  await new Promise((resolve) => setImmediate(resolve))
  t.match((await app.inject('/metrics')).body, 'app_jobs_total{pool="workers",job="spin",outcome="completed"} 2', 'each scrape reads anew')
})

t.test('two applications in a process are counted apart', async (t) => {
  const [one, other] = [await start(t, {}), await start(t, {})]
  const workers = workersOf(one)
  await workers.run('echo', 1)
  t.match(countedJobs(one), [{ name: 'echo', completed: 1 }])
  t.strictSame(countedJobs(other), [])
})

t.test('an application\'s own registry has its metrics and ours', async (t) => {
  const registry = new Registry()
  new Counter({ name: 'orders_total', help: 'Orders', registers: [registry] }).inc(2)
  const app = await start(t, { workers: false, metrics: { registry } })
  await app.tasks.submit('mail:1', async () => {}).done
  const body = await registry.metrics()
  t.match(body, 'orders_total 2')
  t.match(body, 'fastify_concurrency_tasks_total{task="mail",outcome="completed"} 1')
})

t.test('the route is served until the application closes', async (t) => {
  const app = Fastify()
  await app.register(concurrency, { metrics: { path: '/metrics' }, lifecycle: { timeout: 5_000 } })
  await app.listen({ port: 0 })
  const port = (app.server.address() as { port: number }).port
  let body = ''
  app.tasks.submit('last:1', async () => { body = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text() })
  await app.lifecycle.shutdown('test')
  t.match(body, /fastify_concurrency_phase\{phase="(leaving|requests|tasks)"\} 1/)
})

t.test('each reader has the delay of the event loop of its own interval', async (t) => {
  const app = await start(t, { workers: false })
  const [one, other] = [app.metrics.reader(), app.metrics.reader()]
  /** What is measured is a time, so that the test has to let it pass. */
  const pass = async (ms: number): Promise<void> => {
    const end = performance.now() + ms
    await until(() => performance.now() > end, `${ms} ms`)
  }
  await pass(100)
  const end = performance.now() + 200
  while (performance.now() < end);
  await pass(100)
  t.ok(one().eventLoop.delayMax > 100)
  t.ok(other().eventLoop.delayMax > 100, 'another reader has it too')
})

t.test('the event loop is measured in milliseconds since the last reading, and the sampling interval is no delay', async (t) => {
  const app = await start(t, { workers: false })
  const read = app.metrics.reader()
  const pass = async (ms: number): Promise<void> => {
    const end = performance.now() + ms
    await new Promise((resolve) => setTimeout(resolve, ms))
    await until(() => performance.now() >= end, `${ms} ms`)
  }
  const block = (ms: number): void => { for (const end = performance.now() + ms; performance.now() < end;); }
  await pass(100)
  block(300)
  await pass(100)
  const busy = read().eventLoop
  t.ok(busy.delayMax > 150 && busy.delayMax < 5_000, `${busy.delayMax} ms`)
  t.ok(busy.utilization > 0.3, String(busy.utilization))
  // Another process may hold this one up: the quietest of some intervals tells.
  const quiet: Array<typeof busy> = []
  // A mean of 0 says that no sample was taken.
  const isQuiet = ({ delayMean, delayMax, utilization }: typeof busy): boolean => delayMean > 0 && delayMean < 10 && delayMax < 150 && utilization < 0.2
  while (quiet.length < 50 && !quiet.some(isQuiet)) {
    await new Promise((resolve) => setTimeout(resolve, 200))
    quiet.push(read().eventLoop)
  }
  t.ok(quiet.some(isQuiet), JSON.stringify(quiet))
})

t.test('what is defined counts from 0, so that a first event is an increase', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(metrics, { path: '/metrics' })
  await app.register(concurrency, {
    workers: { jobs, maxThreads: 1, execArgv },
    tasks: { tasks: defineTasks({ mail: { handler () {} } }) },
    limiter: { policies: { few: { rate: 1, burst: 1 }, many: { rate: 9, burst: 9, routes: 'named' } } }
  })
  const { body } = await app.inject('/metrics')
  t.match(body, 'jobs_total{pool="workers",job="spin",outcome="crashed"} 0')
  t.match(body, 'jobs_refused_total{pool="workers",job="spin",reason="wait"} 0')
  t.match(body, 'tasks_total{task="mail",outcome="failed"} 0')
  for (const policy of ['few', 'many']) t.match(body, `limiter_refused_total{policy="${policy}"} 0`)
})

t.test('what an application does not have has no value: stored_tasks_up of 0 would raise an alert that Redis is away', async (t) => {
  const app = await start(t, { metrics: { path: '/metrics' } })
  for (let scrape = 0; scrape < 2; scrape++) {
    const { body } = await app.inject('/metrics')
    t.strictSame(body.match(/^fastify_concurrency_(?:stored_tasks|loop_).*$/gm), null)
    t.match(body, /^fastify_concurrency_tasks_running 0$/m)
  }
})

t.test('a second scraper sees the event loop as the first one does', async (t) => {
  const app = await start(t, { workers: false, metrics: { path: '/metrics' } })
  const delayOf = async (): Promise<string | undefined> => /event_loop_delay_max_seconds (\d.*)/.exec((await app.inject('/metrics')).body)?.[1]
  const pass = async (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 100))
  await pass()
  for (const end = performance.now() + 200; performance.now() < end;);
  await pass()
  const first = await delayOf()
  t.ok(Number(first) > 0.1, `${first} s`)
  await pass()
  t.equal(await delayOf(), first)
})

t.test('the metrics listen to no channel: messages are made for others only', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(metrics)
  await app.ready()
  for (const channel of [...Object.values(limiterChannels), ...Object.values(workersChannels)]) t.notOk(channel.hasSubscribers, channel.name)
})

t.test('wrong options are refused at boot by name', async (t) => {
  const taken = new Registry()
  taken.registerMetric(new Counter({ name: 'fastify_concurrency_jobs_total', help: 'theirs', registers: [] }))
  for (const [options, message] of [
    ...['metrics', '/*', '/:x', '/a b', '/a//b', '/a/../b', '/metrics?x', '/(\\d+)', '//'].map((path) => [{ path }, 'Option "metrics.path": expected false, or a path such as /metrics, of letters, digits, and -._~, received'] as const),
    [{ prefix: '1x' }, 'Option "metrics.prefix"'],
    [{ registry: {} }, 'Option "metrics.registry": expected a Registry of prom-client'],
    [{ registry: { registerMetric () {} } }, 'Option "metrics.registry": expected a Registry of prom-client'],
    [{ registry: new Proxy({}, { get () { throw new Error('a trap') } }) }, 'Option "metrics.registry": expected a Registry of prom-client'],
    [{ registry: taken }, 'expected a registry without a metric named fastify_concurrency_jobs_total'],
    [{ pth: '/metrics' }, 'Option "metrics.pth"']
  ] as const) {
    const app = Fastify()
    const error = await rejection(Promise.resolve(app.register(metrics, options as never)))
    t.match(error, { code: 'FC_ERR_OPTION_INVALID' })
    t.match(error.message, message)
  }
  const app = Fastify()
  await app.register(metrics)
  t.match(await rejection(Promise.resolve(app.register(metrics))), { code: 'FC_ERR_OPTION_INVALID', message: /metrics.*one registration/ })
  await app.close()
})

t.test('names beyond 200 share one series', async (t) => {
  const app = await start(t, { workers: false, tasks: { maxQueue: 1_000 } })
  await Promise.all(Array.from({ length: 250 }, async (_, index) => app.tasks.submit(`name-${index}:1`, async () => {}).done))
  const { tasks } = app.metrics.snapshot()
  t.equal(tasks.length, 201)
  t.match(tasks.find(({ name }) => name === 'other'), { completed: 50 })
})
