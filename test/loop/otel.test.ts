// The spans of @fastify/otel around a request that is held.
import { FastifyOtelInstrumentation } from '@fastify/otel'
import { trace } from '@opentelemetry/api'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { startTraced } from '../tracing/helper.ts'
import { spin, times, together } from './helper.ts'

t.test('the handler of a request that was held runs in the span of its own request', async (t) => {
  const app = await startTraced(t, { loop: {} }, (app) => app.register(new FastifyOtelInstrumentation().plugin())) as FastifyInstance
  app.get('/', (request) => {
    spin(6)
    const { traceId } = trace.getActiveSpan()!.spanContext()
    const own = (request as unknown as { opentelemetry (): { span: { spanContext (): { traceId: string } } } }).opentelemetry().span.spanContext().traceId
    return { traceId, own }
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const answers = await together(app, port, times(6, '/'))
  const traces = answers.map(({ body }) => JSON.parse(body) as { traceId: string, own: string })
  for (const { traceId, own } of traces) t.equal(traceId, own)
  t.equal(new Set(traces.map(({ own }) => own)).size, 6, 'a trace each')
  t.ok(app.loop.stats().started >= 4, 'most were held')
})
