/** Exposes a snapshot through prom-client. No other file knows prom-client. Names and units follow Prometheus' conventions. */
import type { FastifyInstance } from 'fastify'
import type { Registry } from 'prom-client'
import type * as PromClient from 'prom-client'
import { OptionInvalidError } from '../shared/errors.ts'
import { endpointsOf } from '../shared/http/endpoints.ts'
import { hidden } from '../shared/http/internal-route.ts'
import { ensure } from '../shared/options.ts'
import { bucketBounds, type DurationsSnapshot } from '../core/ledger/durations.ts'
import { instruments, seconds, type Scrape } from './instruments.ts'
import type { ResolvedOptions } from './options.ts'

/** The upper bounds of Prometheus' buckets, in ms: from a short job to the default deadline. A subset of `bucketBounds`. */
const prometheusBounds: readonly number[] = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000]

/**
 * Adds the metrics to a registry, and a route that answers with the registry, if it has a path.
 *
 * @param read takes a snapshot, and asks Redis what is stored
 */
export async function addPrometheus (
  app: FastifyInstance, read: () => Promise<Scrape>, options: ResolvedOptions
): Promise<void> {
  const { path, prefix } = options
  const promClient = await import('prom-client').catch((cause: unknown) => {
    throw new OptionInvalidError(path !== false ? 'metrics.path' : options.registry === undefined ? 'operate' : 'metrics.registry', 'the package prom-client to be installed (npm install prom-client)', String(cause))
  })
  const registry = options.registry === undefined ? new promClient.Registry() : options.registry as Registry
  const taken = instruments.find(({ name }) => registry.getSingleMetric(prefix + name) !== undefined)
  ensure(taken === undefined, 'metrics.registry', `a registry without a metric named ${prefix}${taken?.name ?? ''}, or another metrics.prefix`, 'a registry that has one')
  // prom-client reads all metrics of a scrape in one turn of the event loop, so that they share a snapshot.
  let current: Promise<Scrape> | undefined
  expose(promClient, registry, prefix, () => {
    if (current === undefined) {
      current = read()
      setImmediate(() => { current = undefined })
    }
    return current
  })
  const ours = instruments.map(({ name }) => registry.getSingleMetric(prefix + name))
  // An application that is started again in this process, as by tests, gives the same registry to its next instance.
  app.addHook('onClose', async () => {
    for (const [index, { name }] of instruments.entries()) if (registry.getSingleMetric(prefix + name) === ours[index]) registry.removeSingleMetric(prefix + name)
  })
  endpointsOf(app)?.set('/metrics',
    async () => ({ status: 200, type: registry.contentType, body: await registry.metrics() }))
  if (path === false) return
  // Prometheus must see an overload, and so is never limited.
  app.get(path, { logLevel: 'warn', schema: hidden(), config: { lifecycle: 'always', limiter: false, loop: false, rateLimit: false } }, async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
}

/** Adds the instruments to a registry. Each reads what `scrape` returns, which is the same for all of one scrape. */
function expose (
  { Counter, Gauge, Histogram }: typeof PromClient, registry: Registry, prefix: string, scrape: () => Promise<Scrape>
): void {
  for (const instrument of instruments) {
    const name = prefix + instrument.name
    const configuration = { name, help: instrument.help, labelNames: instrument.labels, registers: [registry] }
    if (instrument.type === 'histogram') {
      // prom-client's Histogram can only observe. To observe each event twice, here and in the collector, would double
      // the cost, so a registered Gauge answers as an empty Histogram would, with the values of the snapshot.
      const empty = new Histogram({ ...configuration, registers: [] })
      new Gauge(configuration).get = async () => {
        const samples = instrument.read(await scrape())
        return { ...await empty.get(), values: samples.flatMap((sample) => cumulative(name, sample)) }
      }
      continue
    }
    const collect = async function (this: PromClient.Counter | PromClient.Gauge): Promise<void> {
      const samples = instrument.read(await scrape())
      this.reset()
      // prom-client sets a metric without labels to 0, also if it has no value.
      if (samples.length === 0 && instrument.labels.length === 0) this.remove()
      for (const { labels, value } of samples) this.inc(labels, value)
    }
    if (instrument.type === 'counter') new Counter({ ...configuration, collect }).reset()
    else new Gauge({ ...configuration, collect }).reset()
  }
}

/** Returns a distribution as Prometheus wants it: each bucket counts all durations up to its bound. */
function cumulative (
  name: string, { labels, value: { count, sum, buckets } }: { labels: Record<string, string>, value: DurationsSnapshot }
): Array<PromClient.MetricValueWithName<string>> {
  let total = 0
  const totals = new Map(bucketBounds.map((bound, index) => {
    total += buckets[index] ?? 0
    return [bound, total]
  }))
  const bounded = prometheusBounds.map((bound) => ({ labels: { ...labels, le: seconds(bound) }, value: totals.get(bound) ?? 0, metricName: `${name}_bucket` }))
  return [
    ...bounded,
    { labels: { ...labels, le: '+Inf' }, value: count, metricName: `${name}_bucket` },
    { labels, value: seconds(sum), metricName: `${name}_sum` },
    { labels, value: count, metricName: `${name}_count` }
  ]
}
