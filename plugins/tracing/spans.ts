/** Translates what the channels say to spans. No other file of the main thread knows OpenTelemetry; in threads, workers/trace.ts does. */
import type * as OpenTelemetry from '@opentelemetry/api'
import type { Attributes, Exception, Span, Tracer } from '@opentelemetry/api'
import { carrierOf, spanContextOf } from '../../workers/trace.ts'
import type { ChannelMessages } from '../channel-messages.ts'

export type { Tracer }

type Api = typeof OpenTelemetry
type Job = ChannelMessages['fastify-concurrency:workers:job']
type Attempt = ChannelMessages['fastify-concurrency:tasks:attempt']
type Enqueued = ChannelMessages['fastify-concurrency:tasks:enqueued']

/** Names attributes with the prefix that the metrics have. An SDK leaves out attributes without a value. */
const own = (details: Record<string, string | number | undefined>): Attributes =>
  Object.fromEntries(Object.entries(details).map(([key, value]) => [`fastify_concurrency.${key}`, value]))

export class Spans {
  readonly #api: Api
  readonly #tracer: Tracer
  // By the message that all events of a job or an attempt share.
  readonly #jobs = new WeakMap<Job, { span: Span, startedAt: number }>()
  readonly #attempts = new WeakMap<Attempt, Span>()

  constructor (api: Api, tracer: Tracer) {
    this.#api = api
    this.#tracer = tracer
  }

  startJob (job: Job): void {
    const { name, id, pool } = job
    const span = this.#tracer.startSpan(`job ${name}`, { attributes: own({ name, id, pool }) })
    this.#jobs.set(job, { span, startedAt: performance.now() })
    job.carrier = carrierOf(span.spanContext())
  }

  endJob (job: Job): void {
    const open = this.#jobs.get(job)
    if (open === undefined) return
    const { span, startedAt } = open
    const { attempt = 0, waitMs = 0, outcome, refusal, error } = job
    if (attempt > 0) span.addEvent('started', own({ wait_ms: waitMs }), startedAt + waitMs)
    span.setAttributes(own({ attempt }))
    if (refusal !== undefined) span.setAttributes(own({ reason: refusal.reason, retry_after: refusal.retryAfter }))
    this.#end(span, outcome, error)
  }

  /** The async context is that of the code that submitted the task. A task of another process has its trace in the carrier. */
  startAttempt (message: Attempt): void {
    const { context, trace, SpanKind, ROOT_CONTEXT } = this.#api
    const { name, id, attempt, waitMs, carrier } = message
    const remote = carrier && spanContextOf(this.#api, carrier)
    const parent = remote === undefined ? context.active() : trace.setSpanContext(ROOT_CONTEXT, remote)
    const kind = remote === undefined ? SpanKind.INTERNAL : SpanKind.CONSUMER
    const attributes = own({ name, id, attempt, wait_ms: waitMs })
    const span = this.#tracer.startSpan(`task ${name}`, { kind, attributes }, parent)
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

  /** Work that was refused before it began has no span of its own: it is an event of the current span. */
  event (name: string, details: Record<string, string | number | undefined>): void {
    this.#api.trace.getActiveSpan()?.addEvent(name, own(details))
  }

  /** An abort is no error of the service: the client left, or the application has cancelled the work. */
  #end (span: Span, outcome = 'unknown', error: unknown): void {
    span.setAttributes(own({ outcome }))
    if (error !== undefined) {
      span.recordException(error as Exception)
      if (outcome !== 'aborted') span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: (error as Error).message })
    }
    span.end()
  }
}
