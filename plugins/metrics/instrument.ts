/** Instrument is a metric of Prometheus and how its values are read from a snapshot. */
import type { DurationsSnapshot } from '../core/ledger/durations.ts'
import type { MetricsSnapshot, QueueMetrics } from './snapshot.ts'

export interface Sample { labels: Record<string, string>, value: number }
export interface Distribution { labels: Record<string, string>, durations: DurationsSnapshot }

export type Instrument =
  | { name: string, help: string, type: 'counter' | 'gauge', labels: readonly string[], read: (snapshot: MetricsSnapshot) => Sample[] }
  | { name: string, help: string, type: 'gauge', labels: readonly string[], readQueues: (queues: QueueMetrics[], isAnswered: boolean) => Sample[] }
  | { name: string, help: string, type: 'histogram', labels: readonly string[], read: (snapshot: MetricsSnapshot) => Distribution[] }
