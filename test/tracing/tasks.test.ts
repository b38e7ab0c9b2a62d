// Spans of tasks, and what else the tracing records: refusals.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { FastifyOtelInstrumentation } from '@fastify/otel'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { defineTasks, type Engine, type EngineFactory, type NamedTask } from '../../plugins/tasks/index.ts'
import tracing from '../../plugins/tracing/index.ts'
import { root } from '../compiler.ts'
import { jobs } from '../fixtures/jobs.ts'
import { deferred, execArgv, rejection, until, type TestWorkers } from '../helper.ts'
import { attributesOf, inSpan, lineage, spanNamed, spans, startTraced, tracer } from './helper.ts'

const withOtel = (app: FastifyInstance): unknown => app.register(new FastifyOtelInstrumentation().plugin())

t.test('a task is a span below its request\'s, and so is what the task opens after the response was sent', async (t) => {
  const app = await startTraced(t, { workers: { jobs, maxThreads: 1, execArgv } }, withOtel)
  const answered = deferred()
  const ended = deferred()
  app.post('/orders', async (_request, reply) => {
    app.tasks.submit('mail:7', async () => {
      await answered.promise
      tracer.startSpan('smtp').end()
      await app.getDecorator<TestWorkers>('workers').run('echo', 1)
    }).done.finally(ended.resolve).catch(() => {})
    return reply.code(202).send({})
  })
  await app.inject({ method: 'POST', url: '/orders', body: {} })
  answered.resolve()
  await ended.promise
  t.match(lineage(spanNamed('smtp')), ['smtp', 'task mail', /^handler/, 'request'])
  t.match(lineage(spanNamed('job echo')), ['job echo', 'task mail', /^handler/, 'request'])
  const span = spanNamed('task mail')
  t.match(attributesOf(span), { name: 'mail', id: 'mail:7', attempt: 1, outcome: 'completed', wait_ms: Number })
  t.match(span, { kind: SpanKind.INTERNAL, status: { code: SpanStatusCode.UNSET } })
})

t.test('each attempt of a task is a span, with its error', async (t) => {
  const app = await startTraced(t, {})
  await inSpan('caller', async () => {
    const { done } = app.tasks.submit('mail:1', async ({ attempt }) => { if (attempt < 3) throw new RangeError(`attempt ${attempt}`) }, { retries: 2, backoff: { base: 1 } })
    await done
    await rejection(app.tasks.submit('bill:1', () => { throw new TypeError('at once') }).done)
  })
  const attempts = spans().filter(({ name }) => name === 'task mail')
  t.match(attempts.map(attributesOf), [{ attempt: 1, outcome: 'retried' }, { attempt: 2, outcome: 'retried' }, { attempt: 3, outcome: 'completed' }])
  t.match(attempts.map(({ status }) => status), [{ code: SpanStatusCode.ERROR, message: 'attempt 1' }, { code: SpanStatusCode.ERROR }, { code: SpanStatusCode.UNSET }])
  for (const attempt of attempts) t.strictSame(lineage(attempt), ['task mail', 'caller'])
  t.match(spanNamed('task bill'), { status: { code: SpanStatusCode.ERROR, message: 'at once' }, events: [{ name: 'exception', attributes: { 'exception.type': 'TypeError' } }] })
})

t.test('a cancelled attempt is no error; a function that ignores its signal ends its span as a failure', async (t) => {
  const app = await startTraced(t, { tasks: { grace: 10 } })
  const started = deferred()
  const handle = app.tasks.submit('long:1', ({ signal }) => {
    started.resolve()
    return new Promise((_resolve, reject) => { signal.addEventListener('abort', () => reject(signal.reason as Error)) })
  })
  await started.promise
  handle.cancel()
  await rejection(handle.done)
  const release = deferred()
  await rejection(app.tasks.submit('deaf:1', () => release.promise, { timeout: 5 }).done)
  t.match(spanNamed('task long'), { status: { code: SpanStatusCode.UNSET }, attributes: { 'fastify_concurrency.outcome': 'aborted' } })
  t.match(spanNamed('task deaf'), { status: { code: SpanStatusCode.ERROR }, attributes: { 'fastify_concurrency.outcome': 'failed' } })
  release.resolve()
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(spans().filter(({ name }) => name === 'task deaf').length, 1, 'and is not ended again when it settles')
})

t.test('a named task of the memory engine is below its request\'s span', async (t) => {
  const tasks = defineTasks({ welcome: { handler: async () => { tracer.startSpan('smtp').end() } } })
  const app = await startTraced(t, { tasks: { tasks } })
  await inSpan('caller', async () => (await app.tasks.enqueue('welcome', undefined as never)).done)
  t.strictSame(lineage(spanNamed('smtp')), ['smtp', 'task welcome', 'caller'])
  t.equal(spanNamed('task welcome').kind, SpanKind.INTERNAL, 'it has not left the process')
})

/** An engine that stores tasks as JSON, and runs them where nothing of the submitter's async context is left, as another process would. */
function storingEngine (): { factory: EngineFactory, runAll: () => Promise<void>, stored: string[] } {
  const stored: string[] = []
  let host: Parameters<EngineFactory>[0]
  const factory: EngineFactory = (given): Engine => {
    host = given
    return { enqueue: async (task) => { stored.push(JSON.stringify(task)); return { id: task.id, status: 'waiting', done: Promise.resolve(), cancel () {} } } }
  }
  const runAll = async (): Promise<void> => {
    for (const text of stored.splice(0)) {
      const { name, payload, ...rest } = JSON.parse(text) as NamedTask
      const options = { ...rest.options, timeout: 1_000, retryIf: () => true }
      await host.scheduler.submit({ ...rest, options, fn: (context) => host.run(name, payload, context) }).done
    }
  }
  return { factory, runAll, stored }
}

t.test('a task that is stored and runs elsewhere continues the trace of the code that enqueued it', async (t) => {
  const { factory, runAll, stored } = storingEngine()
  const tasks = defineTasks({ welcome: { handler: async () => { tracer.startSpan('smtp').end() } } })
  const app = await startTraced(t, { tasks: { tasks, engine: factory } })
  await inSpan('caller', () => app.tasks.enqueue('welcome', undefined as never))
  t.match(JSON.parse(stored[0]!), { carrier: { traceparent: /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/ } })
  await context.with(ROOT_CONTEXT, runAll)
  t.strictSame(lineage(spanNamed('smtp')), ['smtp', 'task welcome', 'caller'])
  t.equal(spanNamed('task welcome').kind, SpanKind.CONSUMER)
})

t.test('a carrier that was damaged in its store gives the task a trace of its own', async (t) => {
  const { factory, runAll, stored } = storingEngine()
  const tasks = defineTasks({ welcome: { handler: async () => {} } })
  const app = await startTraced(t, { tasks: { tasks, engine: factory } })
  const damaged = ['', '00-0-0-01', `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`, `01-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, 7]
  for (const traceparent of damaged) {
    await app.tasks.enqueue('welcome', undefined as never)
    stored.push(JSON.stringify({ ...JSON.parse(stored.pop()!) as object, carrier: { traceparent } }))
  }
  await context.with(ROOT_CONTEXT, runAll)
  const found = spans().filter(({ name }) => name === 'task welcome')
  t.equal(found.length, damaged.length)
  for (const { parentSpanContext, kind } of found) {
    t.equal(parentSpanContext, undefined)
    t.equal(kind, SpanKind.INTERNAL, 'it continues nothing')
  }
})

t.test('without a tracer a task is stored without a carrier', async (t) => {
  const { factory, stored } = storingEngine()
  const app = await startTraced(t, { tracing: false, tasks: { tasks: defineTasks({ welcome: { handler: async () => {} } }), engine: factory } })
  await inSpan('caller', () => app.tasks.enqueue('welcome', undefined as never))
  t.notOk('carrier' in (JSON.parse(stored[0]!) as object))
})

t.test('the tree of spans is the one in the docs: each hook of the suite has a name', async (t) => {
  const app = await startTraced(t, { workers: { jobs, maxThreads: 1, execArgv } }, withOtel)
  app.get('/', async function sumUp () {
    await app.getDecorator<TestWorkers>('workers').run('echo', 1)
    return 'ok'
  })
  await app.inject('/')
  await until(() => spans().some(({ name }) => name === 'request'), 'the request has its span')
  const docs = readFileSync(join(root, 'docs/tracing.md'), 'utf8')
  const [, drawn = ''] = /```\n(request\n[^]*?)```/.exec(docs) ?? []
  const namesIn = (pattern: RegExp, names: string[]): string[] => names.filter((name) => pattern.test(name)).sort()
  const fastifys = /^(?:on|pre|handler)/
  t.strictSame(namesIn(fastifys, spans().map(({ name }) => name)), namesIn(fastifys, drawn.split('\n').map((line) => line.replace(/^[ │├└─]+/, '').split('  ', 1)[0] ?? '')))
})

t.test('what is refused before it begins is an event of the span that asked for it, without a client\'s key', async (t) => {
  const policies = { few: { rate: 0.001, burst: 1, key: { header: 'x-key' } } }
  const app = await startTraced(t, { tasks: { concurrency: 1, maxQueue: 0 }, limiter: { policies } }, withOtel)
  const release = deferred()
  app.get('/', async () => 'ok')
  await app.inject({ url: '/', headers: { 'x-key': 'secret-key' } })
  await app.inject({ url: '/', headers: { 'x-key': 'secret-key' } })
  await inSpan('caller', async () => {
    app.tasks.submit('mail:1', () => release.promise)
    t.throws(() => app.tasks.submit('mail:2', async () => {}), { code: 'FC_ERR_TASKS_FULL' })
    t.throws(() => app.tasks.submit('mail:1', async () => {}), { code: 'FC_ERR_TASK_DUPLICATE' })
    release.resolve()
  })
  const holds = deferred()
  const lock = app.locks.mutex('secret-lock')
  const held = lock.runExclusive(() => holds.promise)
  await inSpan('waiter', () => rejection(lock.acquire({ timeout: 5 })))
  holds.resolve()
  await held
  const refusals = spans().flatMap(({ name, events }) => events.filter((event) => event.name === 'refused').map((event) => ({ on: name, ...attributesOf({ attributes: event.attributes ?? {} }) })))
  t.match(refusals, [
    { on: 'onRequest - limiterOnRequest', what: 'limit', policy: 'few', retry_after: Number },
    { on: 'caller', what: 'task', name: 'mail', code: 'FC_ERR_TASKS_FULL' },
    { on: 'waiter', what: 'lock', name: 'mutex', code: /FC_ERR_LOCK_/ }
  ])
  t.equal(refusals.length, 3)
  t.match(spanNamed('caller').events.filter(({ name }) => name === 'duplicate').map(({ attributes = {} }) => attributesOf({ attributes })), [{ what: 'task', name: 'mail' }])
  t.notMatch(JSON.stringify(refusals), /secret/)
})

t.test('wrong options are refused at boot by name, as is a second registration', async (t) => {
  for (const [options, message] of [[{ tracerProvider: {} }, 'Option "tracing.tracerProvider": expected a TracerProvider'], [{ provider: 1 }, 'Option "tracing.provider"'],
    [{ tracerProvider: { getTracer () { throw new Error('shut down') } } }, 'returns a tracer, received one that throws Error: shut down'],
    [{ tracerProvider: { getTracer () {} } }, 'returns a tracer, received undefined']] as const) {
    t.match(await rejection(Promise.resolve(Fastify().register(tracing, options as never))), { code: 'FC_ERR_OPTION_INVALID', message })
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(tracing)
  t.match(await rejection(Promise.resolve(app.register(tracing))), { code: 'FC_ERR_OPTION_INVALID', message: 'expected one registration of the tracing' })
})
