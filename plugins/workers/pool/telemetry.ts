/** Reports how jobs end to the statistics, the channels and, at debug, the log. It decides nothing. */
import { logSafely } from '../../shared/log.ts'
import * as channels from '../channels.ts'
import type { Job, JobEnd } from '../job.ts'
import { Counters, type JobStats } from './stats.ts'

export class Telemetry {
  readonly #pool: string
  readonly #names: readonly string[]
  readonly #counters: readonly Counters[]

  constructor (pool: string, names: readonly string[]) {
    this.#pool = pool
    this.#names = names
    this.#counters = names.map(() => new Counters())
  }

  /** The number of jobs that have run to their end. */
  get finished (): number {
    return this.#counters.reduce((sum, { finished }) => sum + finished, 0)
  }

  jobs (): Record<string, JobStats> {
    return Object.fromEntries(this.#counters.map((counters, index) => [this.#names[index], counters.snapshot()]))
  }

  queued (job: Job, waiting: number): void {
    if (channels.queued.hasSubscribers) channels.queued.publish({ ...this.#identity(job), waiting })
  }

  dispatched (job: Job): void {
    const { attempt, waitMs } = job
    if (channels.dispatched.hasSubscribers) channels.dispatched.publish({ ...this.#identity(job), waitMs, attempt })
  }

  /** Called while the job still has its thread, if it has one. */
  ended (job: Job, end: JobEnd): void {
    this.#counters[job.registered.index]?.count(end, job.waitMs)
    if (channels[end.how].hasSubscribers) this.#publish(job, end)
    const { name, seq, waitMs, where } = job
    if (end.how === 'refused' || end.how === 'crashed') return // The refusal log, or the caller, logs these.
    const durationMs = 'durationMs' in end ? end.durationMs : undefined
    logSafely(job.log, 'debug', { job: name, jobId: seq, where, waitMs, durationMs }, `job ${end.how}`)
  }

  #publish (job: Job, end: JobEnd): void {
    const identity = this.#identity(job)
    const { waitMs, where, timeout } = job
    switch (end.how) {
      case 'completed': return channels.completed.publish({ ...identity, waitMs, durationMs: end.durationMs })
      case 'failed': return channels.failed.publish({ ...identity, waitMs, durationMs: end.durationMs, error: end.error })
      case 'refused': return channels.refused.publish({ ...identity, ...end.refusal })
      case 'aborted': return channels.aborted.publish({ ...identity, where, reason: end.reason })
      case 'timedOut': return channels.timedOut.publish({ ...identity, where, timeout })
      case 'crashed': return channels.crashed.publish({ ...identity, error: end.error })
    }
  }

  #identity ({ name, id }: Job): channels.JobIdentity {
    return { kind: 'job', name, id, pool: this.#pool }
  }
}
