// Names, registries and numbers of routes that metrics and tracing must survive.
import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import Fastify, { type FastifyInstance } from 'fastify'
import { Counter, Registry } from 'prom-client'
import t, { type Test } from 'tap'
import concurrency, { type ConcurrencyOptions } from '../../plugins/index.ts'
import tasks from '../../plugins/tasks/index.ts'
import workers, { type Workers } from '../../plugins/workers/index.ts'
import { jobs as strangeJobs } from '../fixtures/strange-names.ts'
import { execArgv, rejection } from '../helper.ts'

const exporter = new InMemorySpanExporter()
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())

async function start (t: Test, options: ConcurrencyOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(concurrency, options)
  return app
}

/** Prometheus' own grammar of a sample: https://prometheus.io/docs/instrumenting/exposition_formats/ */
const SAMPLE = /^[a-zA-Z_:][\w:]*(?:\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (?:[-+]?[\d.eE+-]+|NaN|[+-]Inf)$/

/** The samples of an exposition; fails at a line that Prometheus couldn't parse. */
function samplesOf (t: Test, text: string): string[] {
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  t.strictSame(samples.filter((line) => !SAMPLE.test(line)), [])
  return samples
}

t.test('names of jobs, tasks and policies with quotes, backslashes and newlines', async (t) => {
  exporter.reset()
  const strange = ['say "hi"', 'two\nlines', 'back\\slash', 'le="1"} 5\nup 1', '__proto__', 'naïve ☃']
  // A policy's name that isn't printable is refused at boot.
  const policies = { 'few "per" client': { rate: 0.001, burst: 1, key: { header: 'x-key' } } }
  t.strictSame(Object.keys(strangeJobs.definitions), strange)
  const app = await start(t, { workers: { jobs: strangeJobs, maxThreads: 1, execArgv }, limiter: { policies }, metrics: { path: '/metrics' }, tracing: {} })
  app.get('/', async () => 'ok')
  await app.ready()
  const workers = app.getDecorator<Workers<never>>('workers') as unknown as { run: (name: string) => Promise<unknown> }
  for (const name of strange) {
    t.equal(await workers.run(name), 'ran')
    await app.tasks.submit(`${name}:1`, async () => {}).done
  }
  for (let n = 0; n < 2; n++) await app.inject({ url: '/', headers: { 'x-key': 'a' } })
  const samples = samplesOf(t, (await app.inject({ url: '/metrics', headers: { 'x-key': 'b' } })).body)
  t.ok(samples.includes('fastify_concurrency_limiter_refused_total{policy="few \\"per\\" client"} 1'))
  for (const name of strange) {
    const label = name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
    t.ok(samples.includes(`fastify_concurrency_jobs_total{pool="workers",job="${label}",outcome="completed"} 1`), name)
    t.ok(samples.includes(`fastify_concurrency_tasks_total{task="${label}",outcome="completed"} 1`), name)
    const { jobs, tasks } = app.metrics.snapshot()
    t.ok(jobs.some((job) => job.name === name) && tasks.some((task) => task.name === name))
    t.strictSame(exporter.getFinishedSpans().filter((span) => span.attributes['fastify_concurrency.name'] === name).map((span) => span.name), [`job ${name}`, `task ${name}`])
  }
  t.notOk(samples.includes('up 1'), 'a name forges no sample')
})

t.test('two applications with one registry: the second is told what to do, and a prefix is enough', async (t) => {
  const registry = new Registry()
  const one = await start(t, { metrics: { registry } })
  const refused = Fastify()
  t.teardown(() => refused.close())
  const error = await rejection(Promise.resolve(refused.register(concurrency, { metrics: { registry } })))
  t.match(error, { code: 'FC_ERR_OPTION_INVALID', message: /metrics\.registry.*or another metrics\.prefix/ })
  const other = await start(t, { metrics: { registry, prefix: 'other_' } })
  await one.tasks.submit('mail:1', async () => {}).done
  await other.tasks.submit('bill:1', async () => {}).done
  const samples = samplesOf(t, await registry.metrics())
  t.ok(samples.includes('fastify_concurrency_tasks_total{task="mail",outcome="completed"} 1'))
  t.ok(samples.includes('other_tasks_total{task="bill",outcome="completed"} 1'))
  t.notOk(samples.some((line) => line.startsWith('other_') && line.includes('mail')), 'each counts its own')
})

t.test('an application that has closed leaves a registry as it found it', async (t) => {
  const registry = new Registry()
  new Counter({ name: 'orders_total', help: 'Orders', registers: [registry] }).inc()
  const before = await registry.metrics()
  for (let run = 0; run < 2; run++) {
    const app = await start(t, { metrics: { registry } })
    t.ok(registry.getMetricsAsArray().length > 10)
    await app.close()
    t.equal(await registry.metrics(), before)
  }
})

t.test('a metric of the application that took a name while the suite ran is left alone', async (t) => {
  const registry = new Registry()
  const app = await start(t, { metrics: { registry } })
  registry.clear()
  const theirs = new Counter({ name: 'fastify_concurrency_jobs_total', help: 'Theirs', registers: [registry] })
  await app.close()
  t.equal(registry.getSingleMetric('fastify_concurrency_jobs_total'), theirs)
})

t.test('a registry of the OpenMetrics format', async (t) => {
  const registry = new Registry()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
  const app = await start(t, { metrics: { registry, path: '/metrics' } })
  await app.tasks.submit('mail:1', async () => {}).done
  const { body, headers } = await app.inject('/metrics')
  t.match(headers['content-type'], /openmetrics/)
  t.match(body, 'fastify_concurrency_tasks_total{task="mail",outcome="completed"} 1')
  t.match(body, '# TYPE fastify_concurrency_task_run_seconds histogram')
  t.match(body, /# EOF\n?$/)
})

t.test('a flood of names: 200 series, and one for the rest', async (t) => {
  const app = await start(t, { tasks: { maxQueue: 100_000 }, metrics: { path: '/metrics' } })
  await Promise.all(Array.from({ length: 5_000 }, (_, n) => app.tasks.submit(`task ${n}:1`, async () => {}).done))
  const { tasks } = app.metrics.snapshot()
  t.equal(tasks.length, 201)
  t.match(tasks.at(-1), { name: 'other', completed: 4_800 })
})

t.test('10,000 routes make no metric more', async (t) => {
  const samples = async (routes: number): Promise<string[]> => {
    const app = await start(t, { metrics: { path: '/metrics' }, tracing: {} })
    for (let n = 0; n < routes; n++) app.get(`/routes/${n}/:id`, async () => n)
    await app.ready()
    for (let n = 0; n < routes; n += 1_000) t.equal((await app.inject(`/routes/${n}/x`)).body, String(n))
    return samplesOf(t, (await app.inject('/metrics')).body).map((line) => line.replace(/ \S+$/, ''))
  }
  t.strictSame(await samples(10_000), await samples(1))
})

t.test('decorators of the application\'s own are no pools and no tasks, whatever they are named', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.decorate('tasks', { stats: null, mine: true } as never)
  app.decorate('requests', { stats: () => ({ maxThreads: 3 }) })
  app.decorate('groups', { stats () { throw new Error('mine') } })
  await app.register(concurrency, { tasks: false, metrics: { path: '/metrics' } })
  t.match(app.metrics.snapshot(), { phase: 'serving', pools: [], tasksRunning: 0, tasksWaiting: 0, queues: [] })
  t.equal((await app.inject('/metrics')).statusCode, 200)
})

t.test('parts that only an encapsulated context has are counted; the gauges of tasks are left out', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(concurrency, { tasks: false, dashboard: {}, metrics: { path: '/metrics' } })
  let child: FastifyInstance | undefined
  await app.register(async (inner) => {
    child = inner
    await inner.register(tasks)
    await inner.register(workers, { jobs: strangeJobs, maxThreads: 1, execArgv })
  })
  await app.ready()
  await child?.tasks.submit('mail:1', async () => {}).done
  await (child?.getDecorator<Workers<never>>('workers') as unknown as { run: (name: string) => Promise<unknown> }).run('__proto__')
  const { jobs, ...snapshot } = app.metrics.snapshot()
  t.match(snapshot, { pools: [{ pool: 'workers', maxThreads: 1 }], tasksRunning: 0, tasks: [{ name: 'mail', completed: 1 }] })
  t.match(jobs.filter(({ completed }) => completed > 0), [{ name: '__proto__', completed: 1 }])
  t.equal((await app.inject('/metrics')).statusCode, 200)
})
