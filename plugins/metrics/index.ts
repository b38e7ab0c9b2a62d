/**
 * Numbers about what the other plugins do, for dashboards and alerts: a snapshot, and Prometheus' text format through prom-client. The plugin reads
 * the counts of the application, so it may be registered before or after the other plugins. It never publishes a client's key.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { endpointsOf } from '../shared/http/endpoints.ts'
import { ensure } from '../shared/options.ts'
import { Collector } from './collector.ts'
import { EventLoop } from './event-loop.ts'
import { resolveOptions, type MetricsOptions } from './options.ts'
import type { MetricsSnapshot } from './snapshot.ts'

export { bucketBounds } from '../core/ledger/durations.ts'
export type { DurationsSnapshot } from '../core/ledger/durations.ts'
export type { EventLoopSnapshot } from './event-loop.ts'
export type { MetricsOptions, MetricsRegistry } from './options.ts'
export type { BoundMetrics, JobMetrics, LimitMetrics, LockMetrics, LoopMetrics, MetricsSnapshot, PoolMetrics, QueueMetrics, TaskMetrics } from './snapshot.ts'

/** Decorates the application as `app.metrics`. */
export interface Metrics {
  /** Returns all counts so far. The values of the event loop are those since the last call of this method; the first call begins to measure them. */
  snapshot (): MetricsSnapshot
  /**
   * Returns a function like `snapshot` whose values of the event loop are those since its own last call. Use it for a reader that must not shorten
   * the interval of others. Each reader is kept until the application closes, so make one for each reader and not one for each reading.
   */
  reader (options?: ReaderOptions): () => MetricsSnapshot
}

/** Options of `metrics.reader()`. */
export interface ReaderOptions {
  /**
   * Asks Redis with each reading what is stored. Without it, `queues` of the snapshots is empty.
   * @default true
   */
  queues?: boolean
}

declare module 'fastify' {
  interface FastifyInstance {
    metrics: Metrics
  }
}

/** Prometheus is often two servers, which scrape every 15 s or more. The second one must not find values of the moment since the first one. In ms. */
const SCRAPE_WINDOW_MS = 10_000

async function metrics (app: FastifyInstance, options: MetricsOptions): Promise<void> {
  const { path, registry, prefix } = resolveOptions(options)
  ensure(!app.hasDecorator('metrics'), 'metrics', 'one registration of the metrics', 'a second one')
  const collector = new Collector(app)
  const eventLoops: EventLoop[] = []
  const readerOf = (window: number, asks: boolean): () => MetricsSnapshot => {
    const eventLoop = new EventLoop(window)
    eventLoops.push(eventLoop)
    return () => collector.snapshot(eventLoop.read(), asks)
  }
  const reader = ({ queues = true }: ReaderOptions = {}): () => MetricsSnapshot => readerOf(0, queues)
  // The event loop is sampled from the first reading on.
  let own: (() => MetricsSnapshot) | undefined
  app.decorate('metrics', { snapshot: () => (own ??= reader())(), reader })
  app.addHook('onClose', async () => {
    for (const eventLoop of eventLoops) eventLoop.close()
  })
  if (path === false && registry === undefined && endpointsOf(app) === undefined) return
  const { addPrometheus } = await import('./prometheus.ts')
  const read = readerOf(SCRAPE_WINDOW_MS, false)
  await addPrometheus(app, async () => ({ ...read(), ...await collector.queues() }), { path, registry, prefix })
}

/** The Fastify plugin of the metrics, `app.metrics`: counts and durations as a snapshot, and for Prometheus. */
export default fp(metrics, { name: 'fastify-concurrency/metrics', fastify: '5.x' })
