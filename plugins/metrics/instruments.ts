/**
 * Every metric that Prometheus is shown, and how its values are read from a snapshot. docs/metrics.md lists the same,
 * and a test compares the two.
 */
import type { DurationsSnapshot } from '../core/ledger/durations.ts'
import type { MetricsSnapshot } from './snapshot.ts'

/** A snapshot whose `queues` are what Redis has answered to this scrape. */
export interface Scrape extends MetricsSnapshot {
  isRedisAnswering: boolean
}

interface InstrumentOf<Type extends string, Value> {
  readonly name: string
  readonly type: Type
  readonly help: string
  readonly labels: readonly string[]
  readonly read: (scrape: Scrape) => Array<{ labels: Record<string, string>, value: Value }>
}

/** A metric of Prometheus. */
export type Instrument = InstrumentOf<'counter' | 'gauge', number> | InstrumentOf<'histogram', DurationsSnapshot>

/**
 * A metric of rows. A number is the value of a row; `undefined` is none. Of several numbers, the label `by` tells them
 * apart.
 */
type Metric<Row> =
  | readonly [name: string, type: 'counter' | 'gauge', help: string, read: (row: Row) => number | undefined]
  | readonly [name: string, type: 'counter' | 'gauge', help: string, read: (row: Row) => Counts, by: string]
  | readonly [name: string, type: 'histogram', help: string, read: (row: Row) => DurationsSnapshot]

type Counts = Readonly<Record<string, number>>

/**
 * Returns the metrics of the rows of a scrape: of pools, jobs, policies.
 *
 * @param labels the field of a row for each label
 */
function metricsOf<Row extends object> (
  rows: (scrape: Scrape) => readonly Row[], labels: Record<string, keyof Row>, metrics: ReadonlyArray<Metric<Row>>
): Instrument[] {
  const labelsOf = (row: Row): Record<string, string> =>
    Object.fromEntries(Object.entries(labels).map(([label, field]) => [label, String(row[field])]))
  return metrics.map(([name, type, help, read, by]) => ({
    name,
    type,
    help,
    labels: [...Object.keys(labels), ...by === undefined ? [] : [by]],
    read: (scrape: Scrape) => rows(scrape).flatMap((row) => {
      const [own, value] = [labelsOf(row), read(row)]
      if (value === undefined) return []
      if (by === undefined) return [{ labels: own, value }]
      return Object.entries(value).map(([each, value]) => ({ labels: { ...own, [by]: each }, value }))
    })
  }) as Instrument)
}

export const seconds = (ms: number): number => ms / 1_000
const total = (counts: Counts): number => Object.values(counts).reduce((sum, count) => sum + count, 0)

export const instruments: readonly Instrument[] = [
  ...metricsOf(({ jobs }) => jobs, { pool: 'pool', job: 'name' }, [
    ['jobs_total', 'counter', 'Jobs that have ended, by how',
      ({ completed, failed, aborted, expired, crashed, refused }) =>
        ({ completed, failed, aborted, expired, crashed, refused: total(refused) }), 'outcome'],
    ['jobs_refused_total', 'counter', 'Jobs that were refused, by reason', ({ refused }) => refused, 'reason'],
    ['job_wait_seconds', 'histogram', 'Time in the queue, of jobs that completed or failed', ({ wait }) => wait],
    ['job_run_seconds', 'histogram', 'Time on a thread, of jobs that completed or failed', ({ run }) => run]
  ]),
  ...metricsOf(({ pools }) => pools, { pool: 'pool' }, [
    ['pool_threads', 'gauge', 'Threads that exist', ({ threads }) => threads],
    ['pool_threads_max', 'gauge', 'Threads that the pool may hold', ({ maxThreads }) => maxThreads],
    ['pool_jobs_running', 'gauge', 'Jobs that threads run', ({ running }) => running],
    ['pool_jobs_waiting', 'gauge', 'Jobs in the queue', ({ waiting }) => waiting]
  ]),
  ...metricsOf(({ tasks }) => tasks, { task: 'name' }, [
    ['tasks_total', 'counter', 'Tasks that have ended, by how',
      ({ completed, failed, aborted, refused, duplicate }) =>
        ({ completed, failed, aborted, refused: total(refused), duplicate }), 'outcome'],
    ['tasks_accepted_total', 'counter', 'Tasks that this process has accepted, whichever process runs them',
      ({ accepted }) => accepted],
    ['tasks_refused_total', 'counter', 'Tasks that were refused, by reason', ({ refused }) => refused, 'reason'],
    ['task_retries_total', 'counter', 'Attempts that failed and were followed by another', ({ retried }) => retried],
    ['tasks_leaked_total', 'counter', 'Tasks whose function ignored its signal', ({ leaked }) => leaked],
    ['task_wait_seconds', 'histogram', 'Time from submission to the first attempt', ({ wait }) => wait],
    ['task_run_seconds', 'histogram', 'Time of the last attempt, of tasks that completed', ({ run }) => run]
  ]),
  ...metricsOf(({ queues }) => queues, { task: 'name' }, [
    ['stored_tasks', 'gauge', 'Tasks that are stored in Redis, of all processes, by state',
      ({ waiting, delayed, running, failed }) => ({ waiting, delayed, running, failed }), 'state'],
    ['stored_tasks_oldest_seconds', 'gauge',
      'How long the stored task that is next in line has waited, its delay left out',
      ({ oldestMs }) => seconds(oldestMs)],
    ['stored_tasks_paused', 'gauge',
      '1 if pause() keeps all processes from beginning tasks of this name, otherwise 0',
      ({ paused }) => Number(paused)],
    ['stored_tasks_processes', 'gauge', 'Processes that consume this name and were seen in the last 15 seconds',
      ({ processes }) => processes]
  ]),
  ...metricsOf(({ limits }) => limits, { policy: 'policy' }, [
    ['limiter_granted_total', 'counter', 'Requests and calls that a policy granted', ({ granted }) => granted],
    ['limiter_refused_total', 'counter', 'Requests and calls that a policy refused', ({ refused }) => refused]
  ]),
  ...metricsOf(({ limits }) => limits.flatMap(({ policy, bound }) => bound === undefined ? [] : [{ policy, ...bound }]),
    { policy: 'policy' }, [
      ['limiter_running', 'gauge', 'Requests and calls that hold a permit of a policy with concurrency',
        ({ running }) => running],
      ['limiter_waiting', 'gauge', 'Requests and calls that wait for a permit of a policy with concurrency',
        ({ waiting }) => waiting],
      ['limiter_wait_seconds', 'histogram',
        'Time that requests and calls waited for a permit of a policy with concurrency', ({ wait }) => wait]
    ]),
  ...metricsOf(({ locks }) => locks, { kind: 'kind' }, [
    ['locks_acquired_total', 'counter', 'Locks that were acquired', ({ acquired }) => acquired],
    ['locks_refused_total', 'counter', 'Callers that a lock refused, or that waited too long, by reason',
      ({ refused }) => refused, 'reason'],
    ['lock_wait_seconds', 'histogram', 'Time that callers waited for a lock', ({ wait }) => wait]
  ]),
  // There are none without the plugin for the event loop.
  ...metricsOf(({ loop }) => loop === undefined ? [] : [loop], {}, [
    ['loop_requests_total', 'counter', 'Requests at the admission of the event loop, by what became of them',
      ({ passed, started, left, refused }) => ({ passed, held: started, left, refused: total(refused) }), 'outcome'],
    ['loop_refused_total', 'counter', 'Requests that the admission of the event loop refused, by reason',
      ({ refused }) => refused, 'reason'],
    ['loop_held', 'gauge', 'Requests that are held', ({ held }) => held],
    ['loop_wait_seconds', 'histogram', 'Time for which requests were held that then started', ({ wait }) => wait]
  ]),
  ...metricsOf(({ loop }) => loop?.routes ?? [], { route: 'route' }, [
    ['loop_route_seconds_total', 'counter', 'Time of the event loop that requests of a route took',
      ({ ms }) => seconds(ms)],
    ['loop_stalls_total', 'counter', 'Times that a request of a route held the event loop for long',
      ({ stalls }) => stalls]
  ]),
  ...metricsOf((scrape) => [scrape], {}, [
    ['tasks_running', 'gauge', 'Tasks whose function runs', ({ tasksRunning }) => tasksRunning],
    ['tasks_waiting', 'gauge', 'Tasks that wait for a slot, a delay or a retry', ({ tasksWaiting }) => tasksWaiting],
    ['stored_tasks_up', 'gauge', '1 if Redis has answered this scrape what is stored, otherwise 0',
      ({ queues, isRedisAnswering }) => isRedisAnswering && queues.length === 0 ? undefined : Number(isRedisAnswering)],
    ['limiter_store_failures_total', 'counter', 'Times that the store of the limiter has begun to fail',
      ({ storeFailures }) => storeFailures],
    ['limiter_store_up', 'gauge', '0 from when the store of the limiter fails until it answers again, otherwise 1',
      ({ isStoreUp }) => Number(isStoreUp)],
    ['requests_refused_total', 'counter',
      'Requests that were refused because of a shutdown: loop_refused_total and limiter_refused_total count the others',
      ({ requestsRefused }) => requestsRefused],
    ['phase', 'gauge', 'The phase of the application, as a label', ({ phase }) => ({ [phase]: 1 }), 'phase']
  ]),
  ...metricsOf(({ eventLoop }) => [eventLoop], {}, [
    ['event_loop_utilization', 'gauge', 'Share of the time since the last scrape in which the event loop was busy',
      ({ utilization }) => utilization],
    ['event_loop_delay_mean_seconds', 'gauge', 'Mean delay of the event loop since the last scrape',
      ({ delayMean }) => seconds(delayMean)],
    ['event_loop_delay_p99_seconds', 'gauge', '99th percentile of the delay of the event loop since the last scrape',
      ({ delayP99 }) => seconds(delayP99)],
    ['event_loop_delay_max_seconds', 'gauge', 'Longest delay of the event loop since the last scrape',
      ({ delayMax }) => seconds(delayMax)]
  ])
]
