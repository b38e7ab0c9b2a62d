// Spans of jobs, on the main thread and inside worker threads.
import { SpanStatusCode, type Span } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { FastifyOtelInstrumentation } from '@fastify/otel'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { Workers } from '../../plugins/workers/index.ts'
import { jobs as plainJobs } from '../fixtures/jobs.ts'
import { jobs as tracedJobs, type ThreadSpan } from '../fixtures/traced.ts'
import { execArgv, rejection, startJob, type TestWorkers } from '../helper.ts'
import { attributesOf, inSpan, lineage, spanNamed, spans, startTraced } from './helper.ts'

type TracedWorkers = Workers<typeof tracedJobs>

async function startPlain (t: Test, options: object = {}): Promise<TestWorkers> {
  const app = await startTraced(t, { workers: { jobs: plainJobs, maxThreads: 1, grace: 100, execArgv, ...options } })
  await app.ready()
  return app.getDecorator<TestWorkers>('workers')
}

async function startInThreads (t: Test, maxThreads = 1): Promise<TracedWorkers> {
  const app = await startTraced(t, { workers: { jobs: tracedJobs, maxThreads, execArgv } })
  await app.ready()
  return app.getDecorator<TracedWorkers>('workers')
}

const idOf = (span: Span | ReadableSpan): string => span.spanContext().spanId

t.test('a job is a span below the span that @fastify/otel makes of its request', async (t) => {
  const otel = new FastifyOtelInstrumentation()
  const app = await startTraced(t, { workers: { jobs: plainJobs, maxThreads: 1, execArgv } }, (app) => app.register(otel.plugin()))
  app.get('/cities', async () => app.getDecorator<TestWorkers>('workers').run('echo', 1))
  // The body arrives in events of the socket, whose async context is not the request's.
  app.post('/cities', async (request) => app.getDecorator<TestWorkers>('workers').run('echo', request.body as object))
  const address = await app.listen({ port: 0 })
  for (const [method, body] of [['GET', undefined], ['POST', '{"name":"Oslo"}']] as const) {
    const before = spans().length
    const response = await fetch(`${address}/cities`, { method, headers: { 'content-type': 'application/json' }, ...(body !== undefined && { body }) })
    t.equal(response.status, 200)
    const span = spans().slice(before).find(({ name }) => name === 'job echo')
    t.match(lineage(span!), ['job echo', /^handler/, 'request'], method)
  }
})

t.test('a span of a job tells who it was, how long it waited, and how it ended', async (t) => {
  const workers = await startPlain(t)
  await inSpan('caller', () => workers.run('echo', 1))
  const span = spanNamed('job echo')
  t.strictSame(lineage(span), ['job echo', 'caller'])
  t.strictSame(attributesOf(span), { name: 'echo', id: '1', pool: 'workers', attempt: 1, outcome: 'completed' })
  t.equal(span.status.code, SpanStatusCode.UNSET)
  const [started, ...others] = span.events
  t.strictSame(others, [])
  t.match(started, { name: 'started', attributes: { 'fastify_concurrency.wait_ms': Number } })
  const ms = ([seconds, nanos]: readonly [number, number]): number => seconds * 1e3 + nanos / 1e6
  t.ok(ms(started!.time) >= ms(span.startTime) && ms(started!.time) <= ms(span.endTime), 'it started within the span')
})

t.test('each way in which a job ends badly is on its span, and an abort is no error', async (t) => {
  const workers = await startPlain(t, { maxQueue: 1 })
  await rejection(workers.run('fail', 'type'))
  await rejection(workers.run('die', 'exit'))
  const controller = new AbortController()
  const { ended } = await startJob(workers, 'spin', { ms: 60_000 }, { signal: controller.signal })
  const late = rejection(workers.run('urgent', { ms: 1 }, { timeout: 20 }))
  const refused = await rejection(workers.run('count', undefined as never))
  await late
  controller.abort()
  await rejection(ended)
  const { ERROR, UNSET } = SpanStatusCode
  const expected = [
    ['job fail', 'failed', ERROR, 'FC_ERR_|TypeError'], ['job die', 'crashed', ERROR, 'FC_ERR_JOB_CRASHED'], ['job urgent', 'expired', ERROR, 'FC_ERR_JOB_TIMEOUT'],
    ['job count', 'refused', ERROR, 'FC_ERR_WORKERS_OVERLOADED'], ['job spin', 'aborted', UNSET, 'FC_ERR_JOB_ABORTED']
  ] as const
  for (const [name, outcome, code, type] of expected) {
    const span = spanNamed(name)
    t.equal(attributesOf(span)['outcome'], outcome, name)
    t.equal(span.status.code, code, name)
    const exception = span.events.find((event) => event.name === 'exception')
    t.match(exception?.attributes?.['exception.type'], new RegExp(type), name)
  }
  t.match(attributesOf(spanNamed('job count')), { reason: 'count', retry_after: refused['retryAfter'], attempt: 0 })
  t.strictSame(spanNamed('job count').events.map(({ name }) => name), ['exception'], 'a job that never started has no such event')
})

t.test('a span that a job opens in its thread is a child of the job\'s span, also after it has waited', async (t) => {
  const workers = await startInThreads(t)
  await inSpan('caller', async () => {
    await workers.run('open', 'inner')
    await workers.run('openLater', 'later')
    await rejection(workers.run('openAndFail', 'failing'))
  })
  const found = await workers.run('exported')
  for (const [name, job] of [['inner', 'job open'], ['later', 'job openLater'], ['failing', 'job openAndFail']] as const) {
    const parent = spanNamed(job)
    t.match(found.find((span) => span.name === name), { parentId: idOf(parent), traceId: parent.spanContext().traceId }, name)
  }
  t.equal(found.length, 3)
})

t.test('jobs that go to a thread in one message keep their own traces', async (t) => {
  const workers = await startInThreads(t, 2)
  for (let n = 0; n < 20; n++) await workers.run('open', 'warm')
  const names = Array.from({ length: 200 }, (_, n) => `caller ${n}`)
  await Promise.all(names.map((name) => inSpan(name, () => workers.run(Number(name.slice(7)) % 2 === 0 ? 'open' : 'openLater', name))))
  // Each of two threads holds what it has exported. A job with a transfer list goes alone, to a free thread: to the other one if both are free.
  const found: ThreadSpan[] = []
  const missing = (): string[] => names.filter((name) => !found.some((span) => span.name === name))
  for (let round = 0; round < 1_000 && missing().length > 0; round++) {
    found.push(...(await Promise.all([1, 2].map(() => workers.run('exported', undefined, { transferList: [] })))).flat())
  }
  t.strictSame(missing(), [])
  for (const name of names) {
    const inner = found.find((span) => span.name === name)
    const job = spans().find((span) => idOf(span) === inner?.parentId)
    t.strictSame(job && lineage(job).slice(1), [name])
  }
})

t.test('a thread learns the vendor\'s state, and that a trace is not sampled', async (t) => {
  const workers = await startInThreads(t)
  const { context, trace, createTraceState, ROOT_CONTEXT } = await import('@opentelemetry/api')
  const remote = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', isRemote: true, traceState: createTraceState('vendor=opaque') }
  for (const traceFlags of [1, 0]) {
    await context.with(trace.setSpanContext(ROOT_CONTEXT, { ...remote, traceFlags }), () => workers.run('open', `flags ${traceFlags}`))
  }
  const found = (await workers.run('exported')).filter(({ name }) => name.startsWith('flags'))
  t.match(found, [{ name: 'flags 1', traceId: remote.traceId, tracestate: 'vendor=opaque' }])
  t.equal(found.length, 1, 'the thread has not sampled the other one')
})

t.test('the job after a traced one is not in its trace', async (t) => {
  const workers = await startInThreads(t)
  await inSpan('caller', () => workers.run('openLater', 'first'))
  await workers.run('open', 'second')
  const [first, second] = await workers.run('exported')
  t.not(first?.traceId, second?.traceId)
  t.equal(second?.parentId, idOf(spans().filter(({ name }) => name === 'job open').at(-1)!), 'its parent is its own job, which has no caller')
})

t.test('a thread whose jobs have no SDK runs traced jobs as ever', async (t) => {
  const workers = await startPlain(t)
  t.equal(await inSpan('caller', () => workers.run('echo', 'still')), 'still')
  t.equal(await inSpan('caller', () => workers.run('rest', { ms: 1 })), 'rested')
})

t.test('two applications in a process: each traces its own jobs, with its own provider', async (t) => {
  const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = await import('@opentelemetry/sdk-trace-base')
  const own = new InMemorySpanExporter()
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(own)] })
  const start = async (options: object): Promise<TestWorkers> => {
    const app: FastifyInstance = await startTraced(t, { workers: { jobs: plainJobs, maxThreads: 1, execArgv }, ...options })
    await app.ready()
    return app.getDecorator<TestWorkers>('workers')
  }
  const [one, other, untraced] = [await start({}), await start({ tracing: { tracerProvider } }), await start({ tracing: false })]
  await one.run('echo', 1)
  await other.run('echo', 2)
  await other.run('echo', 3)
  await untraced.run('echo', 4)
  t.equal(spans().filter(({ name }) => name === 'job echo').length, 1)
  t.equal(own.getFinishedSpans().length, 2)
})

t.test('a span processor that throws harms neither the job nor the process, and is logged once', async (t) => {
  const { BasicTracerProvider } = await import('@opentelemetry/sdk-trace-base')
  const fail = (): never => { throw new Error('the exporter is broken') }
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [{ onStart: fail, onEnd: fail, shutdown: async () => {}, forceFlush: async () => {} }] })
  const { default: Fastify } = await import('fastify')
  const { default: concurrency } = await import('../../plugins/index.ts')
  const { logLines } = await import('../helper.ts')
  const { lines, logger } = logLines()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(concurrency, { workers: { jobs: plainJobs, maxThreads: 1, execArgv }, tracing: { tracerProvider } })
  await app.ready()
  const workers = app.getDecorator<TestWorkers>('workers')
  t.equal(await workers.run('echo', 1), 1)
  t.equal(await workers.run('echo', 2), 2)
  t.equal(await app.tasks.submit('mail:1', async () => 'sent').done, 'sent')
  t.match(lines.filter(({ msg }) => msg.startsWith('tracing has failed')), [{ level: 50, err: { message: 'the exporter is broken' } }])
  t.equal(lines.filter(({ msg }) => msg.startsWith('tracing has failed')).length, 1)
})

t.test('jobs that are finished while the app closes have their spans', async (t) => {
  const app = await startTraced(t, { workers: { jobs: plainJobs, maxThreads: 1, execArgv }, lifecycle: false })
  await app.ready()
  const running = app.getDecorator<TestWorkers>('workers').run('spin', { ms: 50 })
  await app.close()
  t.equal(await running, 'done')
  t.equal(attributesOf(spanNamed('job spin'))['outcome'], 'completed')
})

t.test('a caller that isn\'t traced begins a trace', async (t) => {
  const workers = await startPlain(t)
  await workers.run('echo', 1)
  t.equal(spanNamed('job echo').parentSpanContext, undefined)
})
