import * as check from '../shared/options.ts'

/** A `Registry` of prom-client. It is described here, so that the types of the suite need no prom-client. */
export interface MetricsRegistry {
  /** The content type of the text. */
  readonly contentType: string
  /** Returns the metric of a name, if there is one. */
  getSingleMetric (name: string): unknown
  /** Adds a metric. */
  registerMetric (metric: never): void
  /** Returns the text for Prometheus. */
  metrics (): Promise<string>
}

/** The options of the metrics. */
export interface MetricsOptions {
  /**
   * The path of a route that answers with all metrics in Prometheus' text format. It needs the package prom-client. The route is served during a shutdown
   * too. Anyone who can reach the path can read it, so keep it off public addresses.
   * @default false
   */
  path?: string | false
  /**
   * A registry of prom-client to which the metrics are added, for applications that expose metrics of their own.
   * @default a registry of the plugin's own
   */
  registry?: MetricsRegistry
  /**
   * The beginning of every metric's name: letters, digits, `_` and `:`, but no digit first.
   * @default 'fastify_concurrency_'
   */
  prefix?: string
}

/** Every option, for the test that compares them with the docs. @internal */
export const metricsOptionNames = ['path', 'registry', 'prefix'] as const satisfies ReadonlyArray<keyof MetricsOptions>

export type ResolvedOptions = ReturnType<typeof resolveOptions>

export function resolveOptions (options: MetricsOptions) {
  check.record('metrics', options, metricsOptionNames)
  const { path = false, registry, prefix = 'fastify_concurrency_' } = options
  check.ensure(path === false || check.isPath(path), 'metrics.path', 'false, or a path such as /metrics, of letters, digits, and -._~', path)
  check.ensure(registry === undefined || isRegistry(registry), 'metrics.registry', 'a Registry of prom-client', registry)
  check.ensure(typeof prefix === 'string' && /^(?:[a-z_:][\w:]*)?$/i.test(prefix), 'metrics.prefix', 'letters, digits, _ and :, and no digit first', prefix)
  return { path, registry, prefix }
}

function isRegistry (value: unknown): boolean {
  try {
    const { getSingleMetric, registerMetric } = value as Partial<MetricsRegistry>
    return typeof getSingleMetric === 'function' && typeof registerMetric === 'function'
  } catch { // A Proxy or a getter throws.
    return false
  }
}
