/**
 * Carries a trace into a thread, with the application's own OpenTelemetry API. The thread loads this file, and with it
 * the API, only for a job whose caller is traced. Without the API, or without an SDK that the thread has registered,
 * the job runs as it would without a trace.
 */
import type * as OpenTelemetry from '@opentelemetry/api'
import type { TraceCarrier } from './protocol.ts'

type Api = typeof OpenTelemetry
type SpanContext = OpenTelemetry.SpanContext

export type RunInTrace = (carrier: TraceCarrier, fn: () => unknown) => unknown

/** Returns what another thread or process needs to continue a span's trace. */
export function carrierOf ({ traceId, spanId, traceFlags, traceState }: SpanContext): TraceCarrier {
  const traceparent = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
  const tracestate = traceState?.serialize()
  return tracestate === undefined || tracestate === '' ? { traceparent } : { traceparent, tracestate }
}

/**
 * Returns the span that a carrier names. A carrier that isn't valid gives undefined, and the work begins a trace of its
 * own: a carrier may have been stored, and changed, by others.
 */
export function spanContextOf (api: Api, { traceparent, tracestate }: TraceCarrier): SpanContext | undefined {
  const [, traceId = '', spanId = '', flags = ''] = /^00-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})$/.exec(traceparent) ??
    []
  const context = { traceId, spanId, traceFlags: parseInt(flags, 16), isRemote: true }
  if (!api.isSpanContextValid(context)) return undefined
  return tracestate === undefined ? context : { ...context, traceState: api.createTraceState(tracestate) }
}

/** Loads the application's API, and returns a function that calls another one inside a trace. */
export async function loadRunInTrace (): Promise<RunInTrace> {
  let api: Api
  try {
    api = await import('@opentelemetry/api')
  } catch { // The package isn't where threads find it. The main thread has said so at boot if it is nowhere.
    return (_carrier, fn) => fn()
  }
  return (carrier, fn) => {
    const parent = spanContextOf(api, carrier)
    return parent === undefined ? fn() : api.context.with(api.trace.setSpanContext(api.ROOT_CONTEXT, parent), fn)
  }
}
