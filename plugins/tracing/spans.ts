/** Translates what the channels say to spans. No other file of the main thread knows OpenTelemetry; in threads, workers/trace.ts does. */
import type * as OpenTelemetry from '@opentelemetry/api'
import type { Attributes, Exception, Span, Tracer } from '@opentelemetry/api'
import { carrierOf, spanContextOf } from '../../workers/trace.ts'
import type { ChannelMessages } from '../channel-messages.ts'
import type { TracingProvider } from './options.ts'

type Api = typeof OpenTelemetry
type Job = ChannelMessages['fastify-concurrency:workers:job']
type Attempt = ChannelMessages['fastify-concurrency:tasks:attempt']
type Enqueued = ChannelMessages['fastify-concurrency:tasks:enqueued']

const PREFIX = 'fastify_concurrency'

/** Names the attributes as Prometheus' metrics are named; those without a value are left out. */
function attributes (of: Record<string, string | number | undefined>): Attributes {
  return Object.fromEntries(Object.entries(of).map(([key, value]) => [`${PREFIX}.${key}`, value]))
}

export class Spans {
  readonly #api: Api
  readonly #tracer: Tracer
  // By the message that all events of a job or an attempt share.
  readonly #jobs = new WeakMap<Job, { span: Span, startedAt: number }>()
  readonly #attempts = new WeakMap<Attempt, Span>()

  constructor (api: Api, provider: TracingProvider | undefined) {
    this.#api = api
    this.#tracer = (provider as typeof api.trace | undefined ?? api.trace).getTracer('fastify-concurrency')
  }

  startJob (job: Job): void {
    const { name, id, pool } = job
    const span = this.#tracer.startSpan(`job ${name}`, { attributes: attributes({ name, id, pool }) })
    this.#jobs.set(job, { span, startedAt: performance.now() })
    job.carrier = carrierOf(span.spanContext())
  }

  endJob (job: Job): void {
    const open = this.#jobs.get(job)
    if (open === undefined) return
    const { span, startedAt } = open
    const { attempt = 0, waitMs = 0, outcome, refusal, error } = job
    if (attempt > 0) span.addEvent('started', attributes({ wait_ms: waitMs }), startedAt + waitMs)
    span.setAttributes(attributes({ attempt, reason: refusal?.reason, retry_after: refusal?.retryAfter }))
    this.#end(span, outcome, error)
  }

  /** The async context is that of the code that submitted the task. A task of another process has its trace in the carrier. */
  startAttempt (message: Attempt): void {
    const { context, trace, SpanKind, ROOT_CONTEXT } = this.#api
    const { name, id, attempt, waitMs, carrier } = message
    const remote = carrier && spanContextOf(this.#api, carrier)
    const parent = remote === undefined ? context.active() : trace.setSpanContext(ROOT_CONTEXT, remote)
    const kind = remote === undefined ? SpanKind.INTERNAL : SpanKind.CONSUMER
    const span = this.#tracer.startSpan(`task ${name}`, { kind, attributes: attributes({ name, id, attempt, wait_ms: waitMs }) }, parent)
    this.#attempts.set(message, span)
    const inside = trace.setSpan(parent, span)
    message.around = (fn) => context.with(inside, fn)
  }

  endAttempt (message: Attempt): void {
    const span = this.#attempts.get(message)
    if (span !== undefined) this.#end(span, message.outcome, message.error)
  }

  /** Gives a task the trace of the code that enqueues it. */
  carry (task: Enqueued): void {
    const span = this.#api.trace.getActiveSpan()
    if (span !== undefined) task.carrier = carrierOf(span.spanContext())
  }

  /** Work that was refused before it began has no span of its own. */
  refused (details: Record<string, string | number | undefined>): void {
    this.#api.trace.getActiveSpan()?.addEvent('refused', attributes(details))
  }

  /** An abort is no error of the service: the client left, or the application has cancelled the work. */
  #end (span: Span, outcome = 'unknown', error: unknown): void {
    span.setAttributes(attributes({ outcome }))
    if (error !== undefined) {
      span.recordException(error as Exception)
      if (outcome !== 'aborted') span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: (error as Error).message })
    }
    span.end()
  }
}
