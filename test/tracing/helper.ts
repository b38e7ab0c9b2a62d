// A process that is traced by the SDK, and an app in it. It defines no test.
import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace-base'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import concurrency, { type ConcurrencyOptions } from '../../plugins/index.ts'
import { assertIdle } from '../../plugins/testing.ts'

export const exporter = new InMemorySpanExporter()
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())

export const tracer = trace.getTracer('test')

/** The spans that have ended, the oldest first. */
export const spans = (): ReadableSpan[] => exporter.getFinishedSpans()

export function spanNamed (name: string): ReadableSpan {
  const found = spans().filter((span) => span.name === name)
  if (found[0] === undefined || found.length > 1) throw new Error(`${found.length} spans are named ${name}, of ${spans().map((span) => span.name).join(', ')}`)
  return found[0]
}

/** The names of a span and of the spans above it, the nearest first. */
export function lineage (span: ReadableSpan): string[] {
  const parent = spans().find((each) => each.spanContext().spanId === span.parentSpanContext?.spanId)
  return [span.name, ...parent === undefined ? [] : lineage(parent)]
}

/** The attributes of the suite, without their prefix. */
export const attributesOf = ({ attributes }: Pick<ReadableSpan, 'attributes'>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key.replace('fastify_concurrency.', ''), value]))

/** An app with the suite and its tracing, closed with the test. `before` registers what comes before the suite. */
export async function startTraced (t: Test, options: ConcurrencyOptions, before: (app: FastifyInstance) => unknown = () => {}): Promise<FastifyInstance> {
  exporter.reset()
  const app = Fastify()
  t.teardown(async () => {
    await app.close()
    await assertIdle(app)
  })
  await before(app)
  await app.register(concurrency, { tracing: {}, ...options })
  return app
}

/** Runs `fn` inside a span, and ends it. */
export async function inSpan<T> (name: string, fn: () => Promise<T>): Promise<T> {
  return tracer.startActiveSpan(name, async (span) => {
    try {
      return await fn()
    } finally {
      span.end()
    }
  })
}
