/** Turns snapshots of the metrics, which count from the start, into samples: what happened within a second, for a point of each chart. */
import type { DurationsSnapshot, JobMetrics, LockMetrics, LoopMetrics, MetricsSnapshot, TaskMetrics } from '../metrics/index.ts'
import { jobRefusalReasons, lockRefusalReasons, taskRefusalReasons } from '../shared/errors.ts'

/** The 50th and the 99th percentile, in ms; null if nothing was measured. */
export interface Quantiles {
  p50: number | null
  p99: number | null
}

/** Events a second, by the names of the metrics' counts. So are all numbers of a sample whose comment doesn't say something else. */
export interface JobSample extends Omit<JobMetrics, 'wait' | 'run'> {
  wait: Quantiles
  run: Quantiles
}

/** What a route has cost the event loop lately. */
export interface RouteSample {
  /** The method and the pattern of the path. */
  route: string
  /** The share of all time in which the loop ran its requests, from 0 to 1. */
  share: number
  /** Requests a second. */
  count: number
  /** The longest time for which one of its requests has held the loop without a break since the start, in ms. */
  longestMs: number
}

/** What the charts show of one instant. */
export interface Sample {
  /** ms since 1970. */
  at: number
  phase: string
  /** Gauges, except for `arrived`, the jobs of the pool for which `run()` was called. */
  pools: Array<MetricsSnapshot['pools'][number] & { arrived: number }>
  jobs: JobSample[]
  limits: Array<{ policy: string, granted: number, refused: number }>
  /** `running` and `waiting` are gauges. */
  tasks: { running: number, waiting: number, completed: number, failed: number, retried: number, refused: TaskMetrics['refused'] }
  locks: { refused: LockMetrics['refused'] }
  requestsRefused: number
  /** What became of requests at the event loop, if the application has its admission. */
  loop: { arrived: number, refused: number } | undefined
  /** The routes that have cost the event loop most, the most expensive one first. Empty without its admission. */
  routes: RouteSample[]
  /** In ms; `utilization` is a share from 0 to 1. */
  eventLoop: Omit<MetricsSnapshot['eventLoop'], 'delayMean'>
}

/** A snapshot of the metrics at an instant, in ms. */
export interface Reading {
  at: number
  metrics: MetricsSnapshot
}

/** The counts of a job that has ended without being refused. */
const jobOutcomes = ['completed', 'failed', 'aborted', 'expired', 'crashed'] as const

type Counts<Name extends string> = ReadonlyArray<Readonly<Record<Name, number>>>
const refusedOf = <Refused>({ refused }: { refused: Refused }): Refused => refused

/**
 * Returns the sample between two readings.
 *
 * @param first the reading since which percentiles are taken: those of one second alone would jump with every job
 * @param now the instant of `after`, in ms since 1970
 */
export function sampleOf (first: Reading, before: Reading, after: Reading, now: number): Sample {
  const { metrics: last } = after
  const { metrics: previous } = before
  const seconds = Math.max(0.001, (after.at - before.at) / 1_000)
  const rate = (from: number, to: number): number => round(Math.max(0, to - from) / seconds)
  /** Returns the rates of counts, each of them the sum of all of its name. */
  const rates = <Name extends string>(
    names: readonly Name[], from: Counts<NoInfer<Name>>, to: Counts<NoInfer<Name>>
  ): Record<Name, number> => {
    const count = (of: Counts<Name>, name: Name): number => sum(of.map((counts) => counts[name]))
    return recordOf(names, (name) => rate(count(from, name), count(to, name)))
  }

  const previousJobs = byKey(previous.jobs, jobKey)
  const firstJobs = byKey(first.metrics.jobs, jobKey)
  const previousLimits = byKey(previous.limits, ({ policy }) => policy)
  return {
    at: now,
    phase: last.phase,
    pools: last.pools.map((pool) => ({
      ...pool,
      arrived: rate(arrivals(previous, pool.pool), arrivals(last, pool.pool))
    })),
    // A service may define many jobs, of which a sample holds only those that were called.
    jobs: last.jobs.filter((job) => ended(job) > 0).map((job) => {
      const earlier = listOf(previousJobs.get(jobKey(job)))
      const base = firstJobs.get(jobKey(job))
      return {
        pool: job.pool,
        name: job.name,
        ...rates(jobOutcomes, earlier, [job]),
        refused: rates(jobRefusalReasons, earlier.map(refusedOf), [job.refused]),
        wait: quantilesOf(base?.wait, job.wait, last.bucketBounds),
        run: quantilesOf(base?.run, job.run, last.bucketBounds)
      }
    }),
    limits: last.limits.map((limit) => ({
      policy: limit.policy,
      ...rates(['granted', 'refused'], listOf(previousLimits.get(limit.policy)), [limit])
    })),
    tasks: {
      running: last.tasksRunning,
      waiting: last.tasksWaiting,
      ...rates(['completed', 'failed', 'retried'], previous.tasks, last.tasks),
      refused: rates(taskRefusalReasons, previous.tasks.map(refusedOf), last.tasks.map(refusedOf))
    },
    locks: { refused: rates(lockRefusalReasons, previous.locks.map(refusedOf), last.locks.map(refusedOf)) },
    requestsRefused: rate(previous.requestsRefused, last.requestsRefused),
    loop: last.loop && rates(['arrived', 'refused'], listOf(previous.loop).map(loopCounts), [loopCounts(last.loop)]),
    routes: last.loop === undefined ? [] : routeSamples(first, after, last.loop),
    eventLoop: recordOf(['utilization', 'delayP99', 'delayMax'], (name) => round(last.eventLoop[name]))
  }
}

function loopCounts ({ passed, started, refused: reasons }: LoopMetrics): { arrived: number, refused: number } {
  const refused = sum(Object.values(reasons))
  return { arrived: passed + started + refused, refused }
}

/** The routes that a sample holds. */
const MAX_ROUTES = 6

function routeSamples (first: Reading, after: Reading, { routes }: LoopMetrics): RouteSample[] {
  const elapsed = Math.max(1, after.at - first.at)
  const earlier = byKey(first.metrics.loop?.routes ?? [], ({ route }) => route)
  return routes
    .map(({ route, count, ms, longestMs }) => ({
      route,
      share: round((ms - (earlier.get(route)?.ms ?? 0)) / elapsed),
      count: round(1_000 * (count - (earlier.get(route)?.count ?? 0)) / elapsed),
      longestMs: round(longestMs)
    }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.share - a.share)
    .slice(0, MAX_ROUTES)
}

/** Calls of `run()` so far: no channel counts them, since each of them has ended, was refused, or is in the pool. */
function arrivals ({ jobs, pools }: MetricsSnapshot, of: string): number {
  const isOf = ({ pool }: { pool: string }): boolean => pool === of
  return sum(jobs.filter(isOf).map(ended)) + sum(pools.filter(isOf).map(({ running, waiting }) => running + waiting))
}

/** Jobs that came to an end of whatever kind. */
export function ended (job: Pick<JobMetrics, typeof jobOutcomes[number] | 'refused'>): number {
  return sum(jobOutcomes.map((outcome) => job[outcome])) + sum(Object.values(job.refused))
}

/** Returns the percentiles of what was measured between two snapshots: the durations of a bucket count as spread evenly over it. */
export function quantilesOf (from: DurationsSnapshot | undefined, to: DurationsSnapshot, bounds: readonly number[]): Quantiles {
  const counts = to.buckets.map((count, index) => count - (from?.buckets[index] ?? 0))
  const measured = sum(counts)
  const at = (share: number): number | null => {
    let below = 0
    for (const [index, count] of counts.entries()) {
      const upper = bounds[index]
      if (upper === undefined) break
      if (count > 0 && below + count >= share * measured) {
        const lower = bounds[index - 1] ?? 0
        return round(lower + (upper - lower) * (share * measured - below) / count)
      }
      below += count
    }
    return measured === 0 ? null : bounds.at(-1) ?? null
  }
  return { p50: at(0.5), p99: at(0.99) }
}

const jobKey = ({ pool, name }: JobMetrics): string => `${pool}\0${name}`

function byKey<T> (items: readonly T[], key: (item: T) => string): Map<string, T> {
  return new Map(items.map((item) => [key(item), item]))
}

function recordOf<Name extends string> (
  names: readonly Name[], value: (name: Name) => number
): Record<Name, number> {
  return Object.fromEntries(names.map((name) => [name, value(name)])) as Record<Name, number>
}

const listOf = <T>(item: T | undefined): T[] => item === undefined ? [] : [item]

export const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)
/** Three figures are more than a chart shows, and keep a sample short. */
const round = (value: number): number => Number(value.toPrecision(3))
