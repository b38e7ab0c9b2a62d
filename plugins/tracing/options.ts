/** A tracer provider of OpenTelemetry. It is described here, so that the types of the suite need no OpenTelemetry. */
export interface TracingProvider {
  /** Returns the tracer of a name. */
  getTracer (name: string, version?: string): unknown
}

/** The options of tracing. */
export interface TracingOptions {
  /**
   * The provider of the tracer that makes the spans. Set it if the application gives `@fastify/otel` a provider that isn't the global one.
   * @default the global provider of `@opentelemetry/api`, also if it is registered later
   */
  tracerProvider?: TracingProvider
}

/** Every option, for the test that compares them with the docs. @internal */
export const tracingOptionNames = ['tracerProvider'] as const satisfies ReadonlyArray<keyof TracingOptions>
