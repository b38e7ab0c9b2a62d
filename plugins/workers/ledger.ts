/**
 * The ledger of one pool: what its jobs are counted as, and what is published, traced and logged of them. It decides
 * nothing.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { JobLine } from '../../workers/protocol.ts'
import { fromWire } from '../../workers/wire-error.ts'
import { originOf } from '../cancellation/origin.ts'
import { countsOf, type Account, type PoolView } from '../core/ledger/counts.ts'
import type { Percentiles } from '../core/ledger/durations.ts'
import { Ledger, levels, type Outcome } from '../core/ledger/ledger.ts'
import type { JobRefusal, RefusalReason } from '../shared/errors.ts'
import { logSafely } from '../shared/log.ts'
import * as channels from './channels.ts'
import type { Job } from './job.ts'

/** The jobs of one name. */
export interface JobStats {
  /** Resolved. */
  completed: number
  /** Rejected: the job threw, or its payload or result could not be sent. */
  failed: number
  /** Refused, by reason. */
  refused: Record<RefusalReason, number>
  /** Stopped because a signal aborted, the client left or an operator has cancelled the job. */
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
  /** Jobs that threads run now. */
  running: number
  /** Jobs in the queue. */
  waiting: number
  /** The jobs, by name. */
  jobs: Record<Name, JobStats>
}

/** An object, and not the module: to read a property of a module by a name that varies costs a microsecond. */
const { completed, failed, refused, aborted, expired, crashed } = channels
const ends = { completed, failed, refused, aborted, expired, crashed }

export class JobLedger extends Ledger<Job> {
  readonly #pool: Pick<channels.JobIdentity, 'server' | 'pool'>
  readonly #log: FastifyBaseLogger
  readonly #names: readonly string[]
  /** The names of jobs that went on when their request had been answered. */
  readonly #unawaited = new Set<string>()
  /** By the index of the job's name. */
  readonly #accounts: ReadonlyArray<Account<RefusalReason>>

  constructor (
    pool: Pick<channels.JobIdentity, 'server' | 'pool'>, names: readonly string[], log: FastifyBaseLogger,
    view: PoolView
  ) {
    super('job', ends, levels)
    this.#pool = pool
    this.#log = log
    this.#names = names
    const counts = countsOf(pool.server).pools.of(pool.pool)
    counts.views.add(view)
    this.#accounts = names.map((name) => counts.jobs.of(name))
  }

  /** The number of jobs that have run to their end, with a result or an error of their own. */
  get finished (): number {
    return this.#accounts.reduce((sum, { completed, failed }) => sum + completed + failed, 0)
  }

  jobs (): Record<string, JobStats> {
    return Object.fromEntries(this.#accounts.map(({ completed, failed, aborted, expired, crashed, refused, wait, run },
      index) => [
      this.#names[index],
      {
        completed,
        failed,
        aborted,
        expired,
        crashed,
        refused: { ...refused },
        wait: wait.percentiles(),
        run: run.percentiles()
      }
    ]))
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
    if (channels.dispatched.hasSubscribers) {
      channels.dispatched.publish(Object.assign(this.#identity(job),
        { waitMs, attempt }))
    }
  }

  /** Called while the job still has its thread, if it has one. */
  override ended (job: Job, outcome: Outcome): void {
    if (outcome.how === 'completed' || outcome.how === 'failed') {
      const { wait, run } = this.accountOf(job)
      wait.record(job.waitMs)
      run.record(outcome.ms)
    }
    super.ended(job, outcome)
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

  /**
   * Logs that a request was answered before its job had ended: at warn for the first job of each name, whose handler
   * probably lacks an await.
   */
  unawaited (job: Job): void {
    const level = this.#unawaited.has(job.name) ? 'debug' : 'warn'
    this.#unawaited.add(job.name)
    logSafely(job.log, level, { job: job.name, jobId: job.seq, code: 'FC_ERR_REQUEST_ENDED' },
      'a job was aborted because its request has been answered: await it before the answer, or pass { detached: true }')
  }

  protected accountOf (job: Job): Account<RefusalReason> {
    return this.#accounts[job.registered.index] as Account<RefusalReason>
  }

  protected message (job: Job, outcome: Outcome): object {
    const identity = this.#identity(job)
    const { waitMs, where, timeout } = job
    const { ms: durationMs, error } = outcome
    switch (outcome.how) {
      case 'completed': return Object.assign(identity, { waitMs, durationMs })
      case 'failed': return Object.assign(identity, { waitMs, durationMs, error })
      case 'refused': return Object.assign(identity, originOf(job.request), refusalOf(outcome), { key: job.key })
      case 'aborted': return Object.assign(identity, { where, reason: outcome.reason })
      case 'expired': return Object.assign(identity, originOf(job.request), { where, timeout })
      case 'crashed': return Object.assign(identity, originOf(job.request), { error })
    }
  }

  protected endTrace ({ trace, waitMs, attempt }: Job, outcome: Outcome): void {
    if (trace === undefined) return
    Object.assign(trace, { outcome: outcome.how, waitMs, attempt, error: outcome.error })
    if (outcome.how === 'refused') trace.refusal = refusalOf(outcome)
    channels.job.end(trace)
  }

  protected logOf (job: Job): FastifyBaseLogger {
    return job.log
  }

  protected fields ({ name, seq, where, waitMs }: Job, { how, ms, error }: Outcome): Record<string, unknown> {
    const also = how === 'crashed' ? { err: error } : how === 'aborted' || how === 'expired' ? { where } : undefined
    return { job: name, jobId: seq, waitMs, durationMs: ms, ...also }
  }

  /**
   * Returns a new object, which callers complete by Object.assign(): a literal with a spread and further fields takes
   * over a microsecond in V8.
   */
  #identity ({ name, id }: Job): channels.JobIdentity {
    const { server, pool } = this.#pool
    return { server, pool, kind: 'job', name, id }
  }
}

/** Returns the arithmetic of a refusal, which its error has in fields. */
function refusalOf ({ error }: Outcome): JobRefusal {
  const {
    reason, waiting, estimatedWait, limit, retryAfter
  } = error as JobRefusal & Record<'waiting' | 'estimatedWait' | 'limit', number>
  if (reason === 'closing') return { reason }
  return reason === 'unavailable' ? { reason, retryAfter } : { reason, waiting, estimatedWait, limit, retryAfter }
}
