/** Exposes a snapshot through prom-client. No other file knows prom-client. Names and units follow Prometheus' conventions. */
import type { FastifyInstance } from 'fastify'
import type { Registry } from 'prom-client'
import type * as PromClient from 'prom-client'
import { OptionInvalidError } from '../shared/errors.ts'
import { endpointsOf } from '../shared/http/endpoints.ts'
import { hidden } from '../shared/http/internal-route.ts'
import { ensure } from '../shared/options.ts'
import { bucketBounds, type DurationsSnapshot } from '../core/ledger/durations.ts'
import type { Instrument, Sample } from './instrument.ts'
import { loopInstruments } from './loop-instruments.ts'
import type { ResolvedOptions } from './options.ts'
import type { Stored } from './collector.ts'
import type { BoundMetrics, MetricsSnapshot } from './snapshot.ts'

/** The upper bounds of Prometheus' buckets, in ms: from a short job to the default deadline. A subset of `bucketBounds`. */
const prometheusBounds: readonly number[] = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000]

const one = (value: number): Sample[] => [{ labels: {}, value }]
const seconds = (ms: number): number => ms / 1_000
const total = (counts: Record<string, number>): number => Object.values(counts).reduce((sum, count) => sum + count, 0)

/** Samples of the policies that bound how many run at a time. */
const ofBounds = <T extends object>({ limits }: MetricsSnapshot, read: (bound: BoundMetrics) => T): Array<T & { labels: { policy: string } }> =>
  limits.flatMap(({ policy, bound }) => bound === undefined ? [] : [{ labels: { policy }, ...read(bound) }])

/** Everything that is exposed. docs/metrics.md lists the same, and a test compares the two. */
export const instruments: readonly Instrument[] = [
  {
    name: 'jobs_total',
    help: 'Jobs that have ended, by how',
    type: 'counter',
    labels: ['pool', 'job', 'outcome'],
    read: ({ jobs }) => jobs.flatMap(({ pool, name, completed, failed, aborted, expired, crashed, refused }) => {
      const outcomes = { completed, failed, aborted, expired, crashed, refused: total(refused) }
      return Object.entries(outcomes).map(([outcome, value]) => ({ labels: { pool, job: name, outcome }, value }))
    })
  },
  {
    name: 'jobs_refused_total',
    help: 'Jobs that were refused, by reason',
    type: 'counter',
    labels: ['pool', 'job', 'reason'],
    read: ({ jobs }) => jobs.flatMap(({ pool, name, refused }) => Object.entries(refused).map(([reason, value]) => ({ labels: { pool, job: name, reason }, value })))
  },
  {
    name: 'job_wait_seconds',
    help: 'Time in the queue, of jobs that completed or failed',
    type: 'histogram',
    labels: ['pool', 'job'],
    read: ({ jobs }) => jobs.map(({ pool, name, wait }) => ({ labels: { pool, job: name }, durations: wait }))
  },
  {
    name: 'job_run_seconds',
    help: 'Time on a thread, of jobs that completed or failed',
    type: 'histogram',
    labels: ['pool', 'job'],
    read: ({ jobs }) => jobs.map(({ pool, name, run }) => ({ labels: { pool, job: name }, durations: run }))
  },
  { name: 'pool_threads', help: 'Threads that exist', type: 'gauge', labels: ['pool'], read: ({ pools }) => pools.map(({ pool, threads }) => ({ labels: { pool }, value: threads })) },
  { name: 'pool_threads_max', help: 'Threads that the pool may hold', type: 'gauge', labels: ['pool'], read: ({ pools }) => pools.map(({ pool, maxThreads }) => ({ labels: { pool }, value: maxThreads })) },
  { name: 'pool_jobs_running', help: 'Jobs that threads run', type: 'gauge', labels: ['pool'], read: ({ pools }) => pools.map(({ pool, running }) => ({ labels: { pool }, value: running })) },
  { name: 'pool_jobs_waiting', help: 'Jobs in the queue', type: 'gauge', labels: ['pool'], read: ({ pools }) => pools.map(({ pool, waiting }) => ({ labels: { pool }, value: waiting })) },
  {
    name: 'tasks_total',
    help: 'Tasks that have ended, by how',
    type: 'counter',
    labels: ['task', 'outcome'],
    read: ({ tasks }) => tasks.flatMap(({ name, completed, failed, aborted, refused, duplicate }) =>
      Object.entries({ completed, failed, aborted, refused: total(refused), duplicate }).map(([outcome, value]) => ({ labels: { task: name, outcome }, value })))
  },
  { name: 'tasks_accepted_total', help: 'Tasks that this process has accepted, whichever process runs them', type: 'counter', labels: ['task'], read: ({ tasks }) => tasks.map(({ name, accepted }) => ({ labels: { task: name }, value: accepted })) },
  {
    name: 'tasks_refused_total',
    help: 'Tasks that were refused, by reason',
    type: 'counter',
    labels: ['task', 'reason'],
    read: ({ tasks }) => tasks.flatMap(({ name, refused }) => Object.entries(refused).map(([reason, value]) => ({ labels: { task: name, reason }, value })))
  },
  { name: 'task_retries_total', help: 'Attempts that failed and were followed by another', type: 'counter', labels: ['task'], read: ({ tasks }) => tasks.map(({ name, retried }) => ({ labels: { task: name }, value: retried })) },
  { name: 'tasks_leaked_total', help: 'Tasks whose function ignored its signal', type: 'counter', labels: ['task'], read: ({ tasks }) => tasks.map(({ name, leaked }) => ({ labels: { task: name }, value: leaked })) },
  {
    name: 'task_wait_seconds',
    help: 'Time from submission to the first attempt',
    type: 'histogram',
    labels: ['task'],
    read: ({ tasks }) => tasks.map(({ name, wait }) => ({ labels: { task: name }, durations: wait }))
  },
  {
    name: 'task_run_seconds',
    help: 'Time of the last attempt, of tasks that completed',
    type: 'histogram',
    labels: ['task'],
    read: ({ tasks }) => tasks.map(({ name, run }) => ({ labels: { task: name }, durations: run }))
  },
  { name: 'tasks_running', help: 'Tasks whose function runs', type: 'gauge', labels: [], read: ({ tasksRunning }) => one(tasksRunning) },
  { name: 'tasks_waiting', help: 'Tasks that wait for a slot, a delay or a retry', type: 'gauge', labels: [], read: ({ tasksWaiting }) => one(tasksWaiting) },
  {
    name: 'stored_tasks',
    help: 'Tasks that are stored in Redis, of all processes, by state',
    type: 'gauge',
    labels: ['task', 'state'],
    readQueues: (queues) => queues.flatMap(({ name, waiting, delayed, running, failed }) =>
      Object.entries({ waiting, delayed, running, failed }).map(([state, value]) => ({ labels: { task: name, state }, value })))
  },
  { name: 'stored_tasks_oldest_seconds', help: 'How long the stored task that is next in line has waited, its delay left out', type: 'gauge', labels: ['task'], readQueues: (queues) => queues.map(({ name, oldestMs }) => ({ labels: { task: name }, value: seconds(oldestMs) })) },
  {
    name: 'stored_tasks_paused',
    help: '1 if pause() keeps all processes from beginning tasks of this name, otherwise 0',
    type: 'gauge',
    labels: ['task'],
    readQueues: (queues) => queues.map(({ name, paused }) => ({ labels: { task: name }, value: Number(paused) }))
  },
  {
    name: 'stored_tasks_processes',
    help: 'Processes that consume this name and were seen in the last 15 seconds',
    type: 'gauge',
    labels: ['task'],
    readQueues: (queues) => queues.flatMap(({ name, processes }) =>
      processes === undefined ? [] : [{ labels: { task: name }, value: processes }])
  },
  {
    name: 'stored_tasks_up',
    help: '1 if Redis has answered this scrape what is stored, otherwise 0',
    type: 'gauge',
    labels: [],
    readQueues: (queues, isAnswered) => isAnswered && queues.length === 0 ? [] : one(Number(isAnswered))
  },
  { name: 'limiter_granted_total', help: 'Requests and calls that a policy granted', type: 'counter', labels: ['policy'], read: ({ limits }) => limits.map(({ policy, granted }) => ({ labels: { policy }, value: granted })) },
  { name: 'limiter_refused_total', help: 'Requests and calls that a policy refused', type: 'counter', labels: ['policy'], read: ({ limits }) => limits.map(({ policy, refused }) => ({ labels: { policy }, value: refused })) },
  {
    name: 'limiter_running',
    help: 'Requests and calls that hold a permit of a policy with concurrency',
    type: 'gauge',
    labels: ['policy'],
    read: (snapshot) => ofBounds(snapshot, ({ running }) => ({ value: running }))
  },
  {
    name: 'limiter_waiting',
    help: 'Requests and calls that wait for a permit of a policy with concurrency',
    type: 'gauge',
    labels: ['policy'],
    read: (snapshot) => ofBounds(snapshot, ({ waiting }) => ({ value: waiting }))
  },
  {
    name: 'limiter_wait_seconds',
    help: 'Time that requests and calls waited for a permit of a policy with concurrency',
    type: 'histogram',
    labels: ['policy'],
    read: (snapshot) => ofBounds(snapshot, ({ wait }) => ({ durations: wait }))
  },
  { name: 'limiter_store_failures_total', help: 'Times that the store of the limiter has begun to fail', type: 'counter', labels: [], read: ({ storeFailures }) => one(storeFailures) },
  { name: 'limiter_store_up', help: '0 from when the store of the limiter fails until it answers again, otherwise 1', type: 'gauge', labels: [], read: ({ isStoreUp }) => one(Number(isStoreUp)) },
  { name: 'locks_acquired_total', help: 'Locks that were acquired', type: 'counter', labels: ['kind'], read: ({ locks }) => locks.map(({ kind, acquired }) => ({ labels: { kind }, value: acquired })) },
  {
    name: 'locks_refused_total',
    help: 'Callers that a lock refused, or that waited too long, by reason',
    type: 'counter',
    labels: ['kind', 'reason'],
    read: ({ locks }) => locks.flatMap(({ kind, refused }) => Object.entries(refused).map(([reason, value]) => ({ labels: { kind, reason }, value })))
  },
  { name: 'lock_wait_seconds', help: 'Time that callers waited for a lock', type: 'histogram', labels: ['kind'], read: ({ locks }) => locks.map(({ kind, wait }) => ({ labels: { kind }, durations: wait })) },
  ...loopInstruments,
  { name: 'requests_refused_total', help: 'Requests that were refused because of a shutdown: loop_refused_total and limiter_refused_total count the others', type: 'counter', labels: [], read: ({ requestsRefused }) => one(requestsRefused) },
  { name: 'phase', help: 'The phase of the application, as a label', type: 'gauge', labels: ['phase'], read: ({ phase }) => [{ labels: { phase }, value: 1 }] },
  { name: 'event_loop_utilization', help: 'Share of the time since the last scrape in which the event loop was busy', type: 'gauge', labels: [], read: ({ eventLoop }) => one(eventLoop.utilization) },
  { name: 'event_loop_delay_mean_seconds', help: 'Mean delay of the event loop since the last scrape', type: 'gauge', labels: [], read: ({ eventLoop }) => one(seconds(eventLoop.delayMean)) },
  { name: 'event_loop_delay_p99_seconds', help: '99th percentile of the delay of the event loop since the last scrape', type: 'gauge', labels: [], read: ({ eventLoop }) => one(seconds(eventLoop.delayP99)) },
  { name: 'event_loop_delay_max_seconds', help: 'Longest delay of the event loop since the last scrape', type: 'gauge', labels: [], read: ({ eventLoop }) => one(seconds(eventLoop.delayMax)) }
]

interface Source {
  read: () => MetricsSnapshot
  /** Asks Redis. A snapshot holds what Redis answered earlier, and a scrape waits for the answer. */
  queues: () => Promise<Stored>
}

/** Adds the metrics to a registry, and a route that answers with the registry, if it has a path. */
export async function addPrometheus (app: FastifyInstance, { read, queues }: Source, options: ResolvedOptions): Promise<void> {
  const { path, prefix } = options
  const promClient = await import('prom-client').catch((cause: unknown) => {
    throw new OptionInvalidError(path !== false ? 'metrics.path' : options.registry === undefined ? 'operate' : 'metrics.registry', 'the package prom-client to be installed (npm install prom-client)', String(cause))
  })
  const registry = options.registry === undefined ? new promClient.Registry() : options.registry as Registry
  const taken = instruments.find(({ name }) => registry.getSingleMetric(prefix + name) !== undefined)
  ensure(taken === undefined, 'metrics.registry', `a registry without a metric named ${prefix}${taken?.name ?? ''}, or another metrics.prefix`, 'a registry that has one')
  // prom-client reads all metrics of a scrape in one turn of the event loop, so that they share a snapshot.
  let current: MetricsSnapshot | undefined
  expose(promClient, registry, prefix, () => {
    if (current === undefined) {
      current = read()
      setImmediate(() => { current = undefined })
    }
    return current
  }, queues)
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

/** Adds the instruments to a registry. Each reads the snapshot that `snapshot` returns, which is the same one for all instruments of a scrape. */
function expose ({ Counter, Gauge, Histogram }: typeof PromClient, registry: Registry, prefix: string, snapshot: () => MetricsSnapshot, queues: Source['queues']): void {
  for (const instrument of instruments) {
    const configuration = { name: prefix + instrument.name, help: instrument.help, labelNames: instrument.labels, registers: [registry] }
    if (instrument.type === 'histogram') {
      const { read } = instrument
      // prom-client's Histogram can only observe. To observe each event twice, here and in the collector, would double the cost, so a registered Gauge
      // answers as an empty Histogram would, with the values of the snapshot.
      const empty = new Histogram({ ...configuration, registers: [] })
      new Gauge(configuration).get = async () => ({
        ...await empty.get(),
        values: read(snapshot()).flatMap(({ labels, durations }) => cumulative(configuration.name, labels, durations))
      })
      continue
    }
    if ('readQueues' in instrument) {
      const collect = async function (this: PromClient.Gauge): Promise<void> {
        const { queues: found, isAnswered } = await queues()
        const samples = instrument.readQueues(found, isAnswered)
        this.reset()
        for (const { labels, value } of samples) this.set(labels, value)
      }
      new Gauge({ ...configuration, collect }).reset()
      continue
    }
    const { read } = instrument
    const collect = function (this: PromClient.Counter | PromClient.Gauge): void {
      this.reset()
      for (const { labels, value } of read(snapshot())) this.inc(labels, value)
    }
    if (instrument.type === 'counter') new Counter({ ...configuration, collect }).reset()
    else new Gauge({ ...configuration, collect }).reset()
  }
}

/** Returns a distribution as Prometheus wants it: each bucket counts all durations up to its bound. */
function cumulative (name: string, labels: Record<string, string>, { count, sum, buckets }: DurationsSnapshot): Array<PromClient.MetricValueWithName<string>> {
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
