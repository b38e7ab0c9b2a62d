/**
 * Spans of OpenTelemetry for jobs and tasks, as children of the span of their request. The plugin listens to the diagnostics channels of the
 * suite, and carries the trace into worker threads and tasks, so that a span which a job or a task opens has the right parent.
 *
 * The plugin starts no SDK: without one, its spans go nowhere. In a worker thread, spans need an SDK of that thread.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { OptionInvalidError } from '../shared/errors.ts'
import { ensure, record } from '../shared/options.ts'
import { listenTo } from './listen.ts'
import { tracingOptionNames, type TracingOptions, type TracingProvider } from './options.ts'
import { Spans, type Tracer } from './spans.ts'

export type { TracingOptions, TracingProvider } from './options.ts'

const kTracing = Symbol('fastify-concurrency.tracing')

async function tracing (app: FastifyInstance, options: TracingOptions): Promise<void> {
  const { tracerProvider } = record('tracing', options, tracingOptionNames) as TracingOptions
  ensure(!app.hasDecorator(kTracing), 'tracing', 'one registration of the tracing', 'a second one')
  app.decorate(kTracing, true)
  const api = await import('@opentelemetry/api').catch((cause: unknown) => {
    throw new OptionInvalidError('tracing', 'the package @opentelemetry/api to be installed (npm install @opentelemetry/api)', String(cause))
  })
  const stop = listenTo(app, new Spans(api, tracerOf(tracerProvider ?? api.trace)))
  app.addHook('onClose', async () => stop())
}

/** Returns the provider's tracer. A provider that has none fails the boot, and not each span. */
function tracerOf (provider: TracingProvider): Tracer {
  let tracer: unknown
  try {
    tracer = provider.getTracer('fastify-concurrency')
  } catch (cause) {
    throw new OptionInvalidError('tracing.tracerProvider', 'a TracerProvider whose getTracer() returns a tracer', `one that throws ${String(cause)}`)
  }
  ensure(typeof (tracer as Partial<Tracer> | undefined)?.startSpan === 'function', 'tracing.tracerProvider', 'a TracerProvider whose getTracer() returns a tracer', tracer)
  return tracer as Tracer
}

/** The Fastify plugin that makes OpenTelemetry spans of jobs, tasks and lock waits. */
export default fp(tracing, { name: 'fastify-concurrency/tracing', fastify: '5.x' })
