/**
 * Spans of OpenTelemetry for jobs and tasks, as children of the span of their request. The plugin listens to the diagnostics channels of the
 * suite, and carries the trace into worker threads and tasks, so that a span which a job or a task opens has the right parent.
 *
 * The plugin starts no SDK: without one, its spans go nowhere. In a worker thread, spans need an SDK of that thread.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { OptionInvalidError } from '../shared/errors.ts'
import { ensure } from '../shared/options.ts'
import { listen } from './listen.ts'
import { resolveOptions, type TracingOptions } from './options.ts'
import { Spans } from './spans.ts'

export type { TracingOptions, TracingProvider } from './options.ts'

const kTracing = Symbol('fastify-concurrency.tracing')

async function tracing (app: FastifyInstance, options: TracingOptions): Promise<void> {
  const { tracerProvider } = resolveOptions(options)
  ensure(!app.hasDecorator(kTracing), 'tracing', 'one registration of the tracing', 'a second one')
  app.decorate(kTracing, true)
  const api = await import('@opentelemetry/api').catch((cause: unknown) => {
    throw new OptionInvalidError('tracing', 'the package @opentelemetry/api to be installed (npm install @opentelemetry/api)', String(cause))
  })
  const stop = listen(app, new Spans(api, tracerProvider))
  app.addHook('onClose', async () => stop())
}

export default fp(tracing, { name: 'fastify-concurrency/tracing', fastify: '5.x' })
