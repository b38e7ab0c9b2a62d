/** Tells what became of each job, wherever that is heard: the statistics, the channels, the log at debug. It decides nothing. */
import type { Refusal } from '../../shared/errors.ts'
import * as channels from '../channels.ts'
import type { Job } from './job.ts'
import { Stats, type JobStats } from './stats.ts'

export class Ledger {
  readonly #pool: string
  readonly #stats: Stats

  constructor (pool: string, names: readonly string[]) {
    this.#pool = pool
    this.#stats = new Stats(names)
  }

  /** How many jobs have run to their end, with a result or an error of their own. */
  get completedJobs (): number {
    return this.#stats.completed
  }

  jobs (): Record<string, JobStats> {
    return this.#stats.snapshot()
  }

  #event (job: Job): channels.JobEvent {
    return { pool: this.#pool, job: job.name, id: job.id }
  }

  queued (job: Job, waiting: number): void {
    if (channels.queued.hasSubscribers) channels.queued.publish({ ...this.#event(job), waiting })
  }

  refused (job: Job, refusal: Refusal): void {
    this.#stats.refused(job.registered.index, refusal.reason)
    if (channels.rejected.hasSubscribers) channels.rejected.publish({ ...this.#event(job), ...refusal })
  }

  dispatched (job: Job): void {
    const { attempt, waitMs } = job
    if (channels.dispatched.hasSubscribers) channels.dispatched.publish({ ...this.#event(job), waitMs, attempt })
  }

  completed (job: Job, runMs: number): void {
    const { name, waitMs } = job
    this.#stats.count(job.registered.index, 'completed')
    this.#stats.waited(job.registered.index, waitMs)
    this.#stats.ran(job.registered.index, runMs)
    if (channels.completed.hasSubscribers) channels.completed.publish({ ...this.#event(job), waitMs, runMs })
    job.log.debug({ job: name, jobId: job.seq, waitMs, durationMs: runMs }, 'job completed')
  }

  failed (job: Job, runMs: number, error: unknown): void {
    const { name, waitMs } = job
    this.#stats.count(job.registered.index, 'failed')
    this.#stats.waited(job.registered.index, waitMs)
    this.#stats.ran(job.registered.index, runMs)
    if (channels.failed.hasSubscribers) channels.failed.publish({ ...this.#event(job), waitMs, runMs, error })
    job.log.debug({ job: name, jobId: job.seq, waitMs, durationMs: runMs }, 'job failed')
  }

  cancelled (job: Job, reason: unknown): void {
    this.#stats.count(job.registered.index, 'cancelled')
    if (channels.cancelled.hasSubscribers) channels.cancelled.publish({ ...this.#event(job), where: job.where, reason })
    job.log.debug({ job: job.name, jobId: job.seq, where: job.where }, 'job cancelled')
  }

  timedOut (job: Job): void {
    this.#stats.count(job.registered.index, 'timedOut')
    if (channels.timedOut.hasSubscribers) channels.timedOut.publish({ ...this.#event(job), where: job.where, timeout: job.timeout })
    job.log.debug({ job: job.name, jobId: job.seq, where: job.where, timeout: job.timeout }, 'job timed out')
  }

  crashed (job: Job, error: Error): void {
    this.#stats.count(job.registered.index, 'crashed')
    if (channels.crashed.hasSubscribers) channels.crashed.publish({ ...this.#event(job), error })
  }
}
