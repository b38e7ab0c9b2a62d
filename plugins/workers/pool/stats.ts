/** Counts how jobs ended, and how long they took. Memory is bounded by the number of job names. */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { jobRefusalReasons, zeroOf, type RefusalReason } from '../../shared/errors.ts'
import type { JobEnd } from '../job-end.ts'

/** Percentiles in ms, within 1 %; 0 when nothing was measured. */
export interface Percentiles {
  count: number
  mean: number
  p50: number
  p90: number
  p99: number
  max: number
}

export interface JobStats {
  /** Resolved. */
  completed: number
  /** Rejected: the job threw, or its payload or result could not be sent. */
  failed: number
  /** Refused, by reason. */
  refused: Record<RefusalReason, number>
  /** Stopped because a signal aborted, the client left or the app closed. */
  aborted: number
  /** Stopped because the deadline passed. */
  expired: number
  /** Lost with their thread. */
  crashed: number
  /** The time from run() to a thread, of jobs that completed or failed. */
  wait: Percentiles
  /** The time on the thread, without the import of the job. */
  run: Percentiles
}

/** `Name` is the names of the pool's jobs. */
export interface PoolStats<Name extends string = string> {
  /** Threads that the pool may hold. */
  maxThreads: number
  /** Threads that take jobs now: fewer than `maxThreads` while threads start, or are replaced. */
  threads: number
  running: number
  waiting: number
  jobs: Record<Name, JobStats>
}

/** A job that a thread runs. */
export interface RunningJob<Name extends string = string> {
  /** Unique in the pool. */
  id: string
  name: Name
  /** The time since the call of `run()`, in ms. */
  ageMs: number
  /** The time since a thread took the job, in ms. */
  runMs: number
  /** The job was aborted, and its caller has its answer; the thread still runs the job, until the job notices or its grace period ends. */
  aborted: boolean
  /** What the job has reported last with `context.progress()`. */
  progress: unknown
  /** The request in which the job was run. */
  requestId: string | undefined
}

/** Microseconds: the histogram takes whole numbers from 1. */
const UNIT = 1_000
const HIGHEST = 24 * 3_600_000 * UNIT

function histogram (): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: HIGHEST, figures: 2 })
}

function percentiles (of: RecordableHistogram): Percentiles {
  if (of.count === 0) return { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 }
  const at = (percent: number): number => of.percentile(percent) / UNIT
  return { count: of.count, mean: of.mean / UNIT, p50: at(50), p90: at(90), p99: at(99), max: of.max / UNIT }
}

function record (to: RecordableHistogram, ms: number): void {
  to.record(Math.min(HIGHEST, Math.max(1, Math.round(ms * UNIT))))
}

/** The counters of one job name. */
export class Counters {
  readonly #counts = { completed: 0, failed: 0, aborted: 0, expired: 0, crashed: 0 }
  readonly #refused = zeroOf(jobRefusalReasons)
  readonly #wait = histogram()
  readonly #run = histogram()

  count (end: JobEnd, waitMs: number): void {
    if (end.how === 'refused') this.#refused[end.refusal.reason]++
    else this.#counts[end.how]++
    if (end.how !== 'completed' && end.how !== 'failed') return
    record(this.#wait, waitMs)
    record(this.#run, end.durationMs)
  }

  /** Jobs that have run to their end, with a result or an error of their own. */
  get finished (): number {
    return this.#counts.completed + this.#counts.failed
  }

  snapshot (): JobStats {
    return { ...this.#counts, refused: { ...this.#refused }, wait: percentiles(this.#wait), run: percentiles(this.#run) }
  }
}
