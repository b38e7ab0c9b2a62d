/** Reports what happens to jobs to the statistics, the channels and the log. It decides nothing. */
import type { FastifyBaseLogger } from 'fastify'
import type { JobLine } from '../../../workers/protocol.ts'
import { fromWire } from '../../../workers/wire-error.ts'
import { originOf } from '../../cancellation/origin.ts'
import { logSafely } from '../../shared/log.ts'
import * as channels from '../channels.ts'
import type { Job } from '../job.ts'
import type { JobEnd } from '../job-end.ts'
import { Counters, type JobStats } from './stats.ts'

export class JobTelemetry {
  readonly #pool: Pick<channels.JobIdentity, 'server' | 'pool'>
  readonly #names: readonly string[]
  readonly #counters: readonly Counters[]

  readonly #log: FastifyBaseLogger

  constructor (pool: Pick<channels.JobIdentity, 'server' | 'pool'>, names: readonly string[], log: FastifyBaseLogger) {
    this.#pool = pool
    this.#names = names
    this.#log = log
    this.#counters = names.map(() => new Counters())
  }

  /** The number of jobs that have run to their end. */
  get finished (): number {
    return this.#counters.reduce((sum, { finished }) => sum + finished, 0)
  }

  jobs (): Record<string, JobStats> {
    return Object.fromEntries(this.#counters.map((counters, index) => [this.#names[index], counters.snapshot()]))
  }

  /** Begins the trace of a job, before the job is offered to admission. */
  called (job: Job): void {
    if (!channels.job.hasSubscribers) return
    job.trace = Object.assign(this.#identity(job), { carrier: undefined })
    channels.job.begin(job.trace, () => {})
  }

  queued (job: Job, waiting: number): void {
    if (channels.queued.hasSubscribers) channels.queued.publish(Object.assign(this.#identity(job), { waiting }))
  }

  dispatched (job: Job): void {
    const { attempt, waitMs } = job
    if (channels.dispatched.hasSubscribers) channels.dispatched.publish(Object.assign(this.#identity(job), { waitMs, attempt }))
  }

  /** Writes a line that a job has logged. `job` is undefined if the job has ended meanwhile. */
  logged (job: Job | undefined, { log: level, seq, job: name, fields, errors = {}, message }: JobLine): void {
    const revived = Object.fromEntries(Object.entries(errors).map(([key, wire]) => [key, fromWire(wire)]))
    const log = job?.log ?? this.#log
    log[level]({ ...fields, ...revived, job: name, jobId: seq }, message)
  }

  /** Logs once a job that a progress value of the job could not be read: a job may report a thousand of them. */
  progressUnread (job: Job | undefined, err: unknown): void {
    if (job?.progressUnreadLogged === true) return
    if (job !== undefined) job.progressUnreadLogged = true
    logSafely(job?.log ?? this.#log, 'warn', { err, job: job?.name, jobId: job?.seq },
      'a progress value of a job is dropped: it is nested too deeply, or too large, for the main thread to read')
  }

  /** Called while the job still has its thread, if it has one. */
  ended (job: Job, end: JobEnd): void {
    this.#counters[job.registered.index]?.count(end, job.waitMs)
    if (channels[end.how].hasSubscribers) this.#publish(job, end)
    if (job.trace !== undefined) endTrace(job.trace, job, end)
    const { name, seq, waitMs, where } = job
    // shared/refusal-log.ts logs a refusal when Fastify answers it. A refusal that the application catches isn't logged.
    if (end.how === 'refused' || end.how === 'crashed') return
    const durationMs = 'durationMs' in end ? end.durationMs : undefined
    logSafely(job.log, 'debug', { job: name, jobId: seq, where, waitMs, durationMs }, `job ${end.how}`)
  }

  #publish (job: Job, end: JobEnd): void {
    const identity = this.#identity(job)
    const { waitMs, where, timeout } = job
    switch (end.how) {
      case 'completed': return channels.completed.publish(Object.assign(identity, { waitMs, durationMs: end.durationMs }))
      case 'failed': return channels.failed.publish(Object.assign(identity, { waitMs, durationMs: end.durationMs, error: end.error }))
      case 'refused': return channels.refused.publish(Object.assign(identity, originOf(job.request), end.refusal))
      case 'aborted': return channels.aborted.publish(Object.assign(identity, { where, reason: end.reason }))
      case 'expired': return channels.expired.publish(Object.assign(identity, originOf(job.request), { where, timeout }))
      case 'crashed': return channels.crashed.publish(Object.assign(identity, originOf(job.request), { error: end.error }))
    }
  }

  /** Returns a new object, which callers complete by Object.assign(): a literal with a spread and further fields takes over a microsecond in V8. */
  #identity ({ name, id }: Job): channels.JobIdentity {
    const { server, pool } = this.#pool
    return { server, pool, kind: 'job', name, id }
  }
}

function endTrace (trace: channels.JobTrace, { waitMs, attempt }: Job, end: JobEnd): void {
  Object.assign(trace, { outcome: end.how, waitMs, attempt })
  if ('error' in end) trace.error = end.error
  if (end.how === 'refused') trace.refusal = end.refusal
  channels.job.end(trace)
}
