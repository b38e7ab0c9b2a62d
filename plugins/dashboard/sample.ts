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

/** What became of requests at the event loop. */
export interface LoopSample {
  arrived: number
  refused: number
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
  /** Jobs for which `run()` was called. */
  arrived: number
  /** Gauges, except for `arrived`, the jobs of the pool for which `run()` was called. */
  pools: Array<MetricsSnapshot['pools'][number] & { arrived: number }>
  jobs: JobSample[]
  limits: Array<{ policy: string, granted: number, refused: number }>
  /** `running` and `waiting` are gauges. */
  tasks: { running: number, waiting: number, completed: number, failed: number, retried: number, refused: TaskMetrics['refused'] }
  locks: { refused: LockMetrics['refused'] }
  requestsRefused: number
  /** The admission of the event loop, if the application has it. */
  loop: LoopSample | undefined
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

type Refused<Reason extends string> = ReadonlyArray<{ refused: Record<Reason, number> }>

/**
 * Returns the sample between two readings.
 *
 * @param first the reading since which percentiles are taken: those of one second alone would jump with every job
 * @param now the instant of `after`, in ms since 1970
 */
export function sampleOf (first: Reading, before: Reading, after: Reading, now: number): Sample {
  const seconds = Math.max(0.001, (after.at - before.at) / 1_000)
  const rate = (from: number | undefined, to: number): number => round(Math.max(0, to - (from ?? 0)) / seconds)
  const refusals = <Reason extends string>(reasons: readonly Reason[], from: Refused<Reason>, to: Refused<Reason>): Record<Reason, number> => {
    const count = (of: Refused<Reason>, reason: Reason): number => sum(of.map(({ refused }) => refused[reason]))
    return Object.fromEntries(reasons.map((reason) => [reason, rate(count(from, reason), count(to, reason))])) as Record<Reason, number>
  }
  const { metrics: last } = after
  const { metrics: previous } = before
  const quantiles = (from: DurationsSnapshot | undefined, to: DurationsSnapshot): Quantiles => quantilesOf(from, to, last.bucketBounds)

  const previousJobs = byKey(previous.jobs, jobKey)
  const firstJobs = byKey(first.metrics.jobs, jobKey)
  const jobs = last.jobs.filter(hasRun).map((job): JobSample => {
    const earlier = previousJobs.get(jobKey(job))
    const base = firstJobs.get(jobKey(job))
    const { pool, name } = job
    return {
      pool,
      name,
      completed: rate(earlier?.completed, job.completed),
      failed: rate(earlier?.failed, job.failed),
      aborted: rate(earlier?.aborted, job.aborted),
      expired: rate(earlier?.expired, job.expired),
      crashed: rate(earlier?.crashed, job.crashed),
      refused: refusals(jobRefusalReasons, earlier === undefined ? [] : [earlier], [job]),
      wait: quantiles(base?.wait, job.wait),
      run: quantiles(base?.run, job.run)
    }
  })

  const previousLimits = byKey(previous.limits, ({ policy }) => policy)
  const task = (count: (task: MetricsSnapshot['tasks'][number]) => number): number => rate(sum(previous.tasks.map(count)), sum(last.tasks.map(count)))
  return {
    at: now,
    phase: last.phase,
    arrived: rate(arrivals(previous), arrivals(last)),
    pools: last.pools.map((pool) => ({
      ...pool,
      arrived: rate(arrivals(previous, pool.pool), arrivals(last, pool.pool))
    })),
    jobs,
    limits: last.limits.map(({ policy, granted, refused }) => {
      const earlier = previousLimits.get(policy)
      return { policy, granted: rate(earlier?.granted, granted), refused: rate(earlier?.refused, refused) }
    }),
    tasks: {
      running: last.tasksRunning,
      waiting: last.tasksWaiting,
      completed: task(({ completed }) => completed),
      failed: task(({ failed }) => failed),
      retried: task(({ retried }) => retried),
      refused: refusals(taskRefusalReasons, previous.tasks, last.tasks)
    },
    locks: { refused: refusals(lockRefusalReasons, previous.locks, last.locks) },
    requestsRefused: rate(previous.requestsRefused, last.requestsRefused),
    loop: last.loop && loopSample(previous.loop, last.loop, rate),
    routes: last.loop === undefined ? [] : routeSamples(first, after, last.loop),
    eventLoop: {
      utilization: round(last.eventLoop.utilization),
      delayP99: round(last.eventLoop.delayP99),
      delayMax: round(last.eventLoop.delayMax)
    }
  }
}

type Rate = (from: number | undefined, to: number) => number

function loopSample (before: LoopMetrics | undefined, after: LoopMetrics, rate: Rate): LoopSample {
  const refused = (loop: LoopMetrics | undefined): number => sum(Object.values(loop?.refused ?? {}))
  const arrived = (loop: LoopMetrics | undefined): number => (loop?.passed ?? 0) + (loop?.started ?? 0) + refused(loop)
  return { arrived: rate(arrived(before), arrived(after)), refused: rate(refused(before), refused(after)) }
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

/** A service may define many jobs, of which a sample holds only those that were called. */
function hasRun (job: JobMetrics): boolean {
  return ended(job) > 0
}

/**
 * Calls of `run()` so far, of all pools or of one: no channel counts them, since each of them either has ended, was
 * refused, or is in a pool.
 */
function arrivals ({ jobs, pools }: MetricsSnapshot, of?: string): number {
  const isOf = ({ pool }: { pool: string }): boolean => of === undefined || pool === of
  return sum(jobs.filter(isOf).map(ended)) + sum(pools.filter(isOf).map(({ running, waiting }) => running + waiting))
}

type Ended = Pick<JobMetrics, 'completed' | 'failed' | 'aborted' | 'expired' | 'crashed' | 'refused'>

/** Jobs that came to an end of whatever kind. */
export function ended ({ completed, failed, aborted, expired, crashed, refused }: Ended): number {
  return completed + failed + aborted + expired + crashed + sum(Object.values(refused))
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

export const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)
/** Three figures are more than a chart shows, and keep a sample short. */
const round = (value: number): number => Number(value.toPrecision(3))
