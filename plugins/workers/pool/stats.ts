/** Counts what became of each job, and how long it took. Memory is bounded by the number of job names. */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import type { RefusalReason } from '../../shared/errors.ts'

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
  /** Rejected with the job's own error. */
  failed: number
  /** By reason. */
  refused: Record<RefusalReason, number>
  /** By its caller's signal or its client's leaving. */
  cancelled: number
  timedOut: number
  /** Lost with their thread. */
  crashed: number
  /** From run() to a thread, of jobs that completed or failed. */
  wait: Percentiles
  /** On the thread, the import of the job excluded. */
  run: Percentiles
}

/** `Name` is the names of the pool's jobs. */
export interface PoolStats<Name extends string = string> {
  /** Threads the pool may hold. */
  maxThreads: number
  /** Of them, those with a host that takes jobs now: 0 when the pool is idle. */
  threads: number
  running: number
  waiting: number
  jobs: Record<Name, JobStats>
}

type Count = 'completed' | 'failed' | 'cancelled' | 'timedOut' | 'crashed'

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

class Counters {
  completed = 0
  failed = 0
  cancelled = 0
  timedOut = 0
  crashed = 0
  readonly refused: Record<RefusalReason, number> = { count: 0, wait: 0, deadline: 0, shed: 0 }
  readonly wait = histogram()
  readonly run = histogram()

  snapshot (): JobStats {
    const { completed, failed, cancelled, timedOut, crashed } = this
    return { completed, failed, refused: { ...this.refused }, cancelled, timedOut, crashed, wait: percentiles(this.wait), run: percentiles(this.run) }
  }
}

export class Stats {
  readonly #names: readonly string[]
  readonly #jobs: readonly Counters[]

  constructor (names: readonly string[]) {
    this.#names = names
    this.#jobs = names.map(() => new Counters())
  }

  count (job: number, what: Count): void {
    (this.#jobs[job] as Counters)[what]++
  }

  refused (job: number, reason: RefusalReason): void {
    (this.#jobs[job] as Counters).refused[reason]++
  }

  waited (job: number, ms: number): void {
    record((this.#jobs[job] as Counters).wait, ms)
  }

  ran (job: number, ms: number): void {
    record((this.#jobs[job] as Counters).run, ms)
  }

  get completed (): number {
    return this.#jobs.reduce((sum, { completed, failed }) => sum + completed + failed, 0)
  }

  snapshot (): Record<string, JobStats> {
    return Object.fromEntries(this.#jobs.map((counters, index) => [this.#names[index], counters.snapshot()]))
  }
}
