/**
 * The pool: a job that is admitted runs at most once, on one of the threads, and its caller gets the outcome.
 * Admission decides which job is next, the dispatcher hands jobs to threads, and the threads report back here.
 */
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { aborted, crashed, expired, failed, refused, type Outcome } from '../../core/ledger/ledger.ts'
import type { PoolView, RunningJob } from '../../core/ledger/counts.ts'
import { DenseSet } from '../../shared/collections/dense-set.ts'
import { closeDrainable, IdleWaiters, type Drainable, type Unfinished } from '../../shared/drainables.ts'
import {
  ClosingError, JobAbortedError, JobCrashedError, JobTimeoutError, RequestEndedError, WorkersOverloadedError,
  WorkersUnavailableError
} from '../../shared/errors.ts'
import { logSafely } from '../../shared/log.ts'
import { OperatorCancelError } from '../../shared/operator-cancel.ts'
import { noteRefusal } from '../../shared/refusal-log.ts'
import { within } from '../../shared/within.ts'
import { Admission, Entry, type RunOutcome } from '../../core/line/admission.ts'
import { blameClient } from '../client-payload.ts'
import { answered, Job, undelivered, type JobSettings } from '../job.ts'
import { JobLedger, type PoolStats } from '../ledger.ts'
import type { ResolvedOptions } from '../options.ts'
import type { RegisteredJob, Registry } from '../registry.ts'
import type { PoolEvents } from '../threads/events.ts'
import { howItEnded } from '../threads/piscina.ts'
import { Threads } from '../threads/threads.ts'
import { Transitions } from '../threads/transitions.ts'
import { Dispatcher } from './dispatcher.ts'

/**
 * The time in which a killed thread is gone. One in native code is gone when that returns, which a shutdown can't wait
 * for.
 */
const KILL_TIMEOUT_MS = 100

export class Pool implements Drainable, PoolView {
  readonly name: string
  readonly phase = 'workers'
  readonly #options: ResolvedOptions
  readonly #registry: Registry
  readonly #log: FastifyBaseLogger
  readonly #admission: Admission<Job>
  readonly #ledger: JobLedger
  readonly #threads: Threads
  readonly #dispatcher: Dispatcher
  /** The jobs whose callers wait. */
  readonly #live = new DenseSet<Job>()
  readonly #transitions = new Transitions()
  #seq = 0
  #closed = false
  /** Why there are no threads: the boot failed. */
  #broken: Error | undefined
  /** Made when somebody waits for the pool to be idle. */
  #idle: IdleWaiters | undefined

  constructor (registry: Registry, options: ResolvedOptions, { log, server }: Pick<FastifyInstance, 'log' | 'server'>) {
    this.name = options.decorator
    this.#options = options
    this.#registry = registry
    this.#log = log.child({ pool: this.name })
    this.#ledger = new JobLedger({ server, pool: this.name }, registry.names, this.#log, this)
    const { maxThreads: threads, maxQueue, maxWait, orderWait, targetWait } = options
    const concurrency = registry.jobs.map((job) => job.concurrency)
    this.#admission = new Admission<Job>({ threads, maxQueue, maxWait, orderWait, targetWait, concurrency },
      (job, refusal) => {
        this.#end(job, refused(new WorkersOverloadedError(job.name, refusal)))
      })
    this.#threads = new Threads(registry, options, { log: this.#log, server }, this.#transitions, this.#events)
    this.#dispatcher = new Dispatcher(this.#admission, this.#threads, this.#transitions)
    // Jobs that were run before the app was ready would wait for ever.
    this.#threads.booted.catch((error: Error) => this.#transitions.run(() => {
      this.#broken = error
      for (const job of this.#liveJobs()) this.#giveUpJob(job, failed(error))
    }))
  }

  async boot (pluginTimeout?: number): Promise<void> {
    try {
      await this.#threads.boot(pluginTimeout)
    } catch (error) {
      // close() was called during the boot, and has ended the threads. Fastify's ready() and close() then resolve, as
      // they do without a pool.
      if (!this.#closed) throw error
    }
  }

  /** Reports whether a job would be admitted now. The job is not offered. */
  canRun ({ index }: RegisteredJob, { key, priority, timeout }: JobSettings): boolean {
    const now = performance.now()
    return !this.#closed && this.#broken === undefined &&
      this.#admission.admits(new Entry(index, key, priority, now + timeout), now)
  }

  run (registered: RegisteredJob, settings: JobSettings): Promise<unknown> {
    const now = performance.now()
    const job = new Job(++this.#seq, registered, settings, now, this.#onStop)
    this.#ledger.called(job)
    this.#transitions.run(() => this.#offer(job, settings.signals, now))
    return job.promise
  }

  #offer (job: Job, signals: readonly AbortSignal[], now: number): void {
    this.#live.add(job)
    if (this.#closed) return this.#end(job, refused(new ClosingError(`The pool "${this.name}"`)))
    if (this.#broken !== undefined) {
      job.promise.catch(() => {}) // The boot has failed, which says more than an unhandled rejection.
      return this.#end(job, failed(this.#broken))
    }
    const signal = signals.find(({ aborted }) => aborted)
    if (signal !== undefined) return this.#abort(job, signal.reason)
    const refusal = this.#admission.offer(job, now)
    if (refusal !== undefined) return this.#end(job, refused(new WorkersOverloadedError(job.name, refusal)))
    job.listen()
    this.#ledger.queued(job, this.#admission.waiting)
    this.#dispatcher.schedule()
  }

  // --- the end of a job: first for its caller, then for its thread ---

  /** Gives a caller its answer. */
  #end (job: Job, outcome: Outcome): void {
    this.#live.delete(job)
    job.settle(outcome)
    if (outcome.how === 'refused') noteRefusal(job.request, outcome.error)
    this.#ledger.ended(job, outcome)
    this.#checkIdle()
  }

  /** The thread is done with a job. */
  #release (job: Job, durationMs: number, outcome: RunOutcome, now = performance.now(), held = durationMs): void {
    this.#admission.finish(job, now, durationMs, outcome, held)
    this.#checkIdle()
    this.#dispatcher.schedule()
  }

  /** Ends a job before it has run to its end: a thread that runs the job is asked to stop. */
  #giveUpJob (job: Job, outcome: Outcome): void {
    if (job.settled) return
    this.#end(job, outcome)
    this.#admission.leave(job, performance.now())
    if (job.holder === undefined) return this.#checkIdle()
    const reason = outcome.how === 'aborted' ? outcome.reason : outcome.error
    if (job.holder.stop(job, reason, this.#options.grace)) this.#release(job, 0, 'unknown')
  }

  readonly #onStop = (job: Job, why: { aborted: unknown } | 'deadline'): void => {
    this.#transitions.run(() => why === 'deadline' ? this.#timeOut(job) : this.#abort(job, why.aborted))
  }

  #abort (job: Job, cause: unknown): void {
    if (cause instanceof RequestEndedError && !job.settled) this.#ledger.unawaited(job)
    this.#giveUpJob(job, aborted(new JobAbortedError(job.name, { cause }), cause))
  }

  #timeOut (job: Job): void {
    // Its result may have come while this event loop stood still.
    job.holder?.poll()
    if (!job.settled) this.#giveUpJob(job, expired(new JobTimeoutError(job.name, job.timeout, job.where)))
  }

  // --- what the threads report ---

  readonly #events: PoolEvents = {
    vacancy: () => this.#dispatcher.schedule(),
    dispatched: (job) => this.#ledger.dispatched(job),
    outcome: (job, outcome, at, held) => {
      // A job that was stopped would have run longer.
      this.#release(job, outcome[3], job.settled ? 'censored' : 'completed', at, held)
      const end = job.settled ? undefined : answered(job.name, outcome)
      if (end !== undefined) this.#end(job, end)
    },
    progress: (job, value) => this.#onProgress(job, value),
    progressUnread: (job, error) => this.#ledger.progressUnread(job, error),
    log: (job, line) => this.#ledger.logged(job, line),
    undelivered: (job, error, wasPosted) => {
      const outcome = undelivered(job, error, wasPosted)
      blameClient(outcome.error, job.payload, job.request)
      if (!job.settled) this.#end(job, outcome)
      this.#release(job, 0, 'unknown')
    },
    returned: (jobs) => {
      for (const job of jobs) this.#onReturned(job)
      this.#dispatcher.schedule()
    },
    crashed: (job, cause, durationMs, killed) => {
      if (!job.settled) this.#end(job, crashed(new JobCrashedError(job.name, howItEnded(cause), { cause })))
      else {
        logSafely(job.log, 'warn', { job: job.name, jobId: job.seq, grace: this.#options.grace }, killed
          ? 'a job went on after it was aborted, for longer than its grace: its thread was replaced'
          : 'a job ended its thread after it was aborted')
      }
      // While another thread starts in its place, none of the others is served there.
      this.#release(job, durationMs + this.#threads.startMs, 'censored')
    },
    // The jobs that wait are refused. Jobs that come from now on wait for the next attempt.
    unable: (cause, retryAfter) => {
      for (const job of this.#liveJobs()) {
        this.#giveUpJob(job, refused(new WorkersUnavailableError(job.name, retryAfter, { cause })))
      }
    },
    fault: (err) => logSafely(this.#log, 'error', { err }, 'a message of a worker thread could not be handled')
  }

  #onProgress (job: Job, value: unknown): void {
    job.progress = value
    if (job.settled || job.onProgress === undefined) return
    const fail = (error: unknown): void => this.#transitions.run(() => {
      this.#giveUpJob(job, failed(error, performance.now() - job.handedAt))
    })
    try {
      const returned = job.onProgress(value) as PromiseLike<void> | void
      if (typeof returned?.then === 'function') returned.then(undefined, fail)
    } catch (error) {
      fail(error)
    }
  }

  /** A job that no thread has started goes back to the head of the queue. */
  #onReturned (job: Job): void {
    if (job.transferList === undefined) return this.#admission.putBack(job)
    this.#end(job,
      crashed(new JobCrashedError(job.name, 'its payload had moved to a thread that died before it started the job')))
    this.#release(job, 0, 'unknown')
  }

  // --- draining ---

  get pending (): number {
    return this.#admission.waiting + this.#admission.running
  }

  get timers (): number {
    return this.#threads.allHosts.reduce((sum, { killTimers }) => sum + killTimers, 0)
  }

  get completed (): number {
    return this.#ledger.finished
  }

  close (): void {
    this.#closed = true
  }

  #checkIdle (): void {
    if (this.#idle !== undefined && this.pending === 0) this.#idle.wake()
  }

  idle (): Promise<void> {
    return (this.#idle ??= new IdleWaiters()).wait(this.pending)
  }

  /** The jobs whose callers wait, in the order of their calls. */
  #liveJobs (): Job[] {
    return this.#live.all().sort((a, b) => a.seq - b.seq)
  }

  held (): Unfinished[] {
    const now = performance.now()
    const held = new Set([...this.#liveJobs(), ...this.#threads.allHosts.flatMap((host) => host.jobs())])
    return [...held].map(({ name, id, arrived, attempt }) =>
      ({ kind: 'job', name, id, ageMs: Math.round(now - arrived), attempt }))
  }

  async giveUp (grace: number, force = KILL_TIMEOUT_MS): Promise<Unfinished[]> {
    this.close()
    const unfinished = this.held()
    this.#transitions.run(() => {
      for (const job of this.#liveJobs()) this.#giveUpJob(job, refused(new ClosingError(`The pool "${this.name}"`, true)))
      // Those too that were aborted before: their own grace may be longer.
      for (const host of this.#threads.allHosts) for (const job of host.jobs()) host.endAfter(job, grace)
    })
    await within(grace + Math.min(force, KILL_TIMEOUT_MS), this.idle())
    return unfinished
  }

  /**
   * Ends the pool with its app. Without lifecycle, which drains the pool before that, accepted jobs are finished here.
   */
  async shutDown (): Promise<void> {
    await closeDrainable(this, this.#options, this.#log)
    this.#dispatcher.stop()
    await this.#threads.destroy()
  }

  /** A job's mean run time in ms, if it has run. */
  estimate (job: number): number | undefined {
    return this.#admission.estimate(job)
  }

  running (): RunningJob[] {
    const now = performance.now()
    const jobs = this.#threads.allHosts.flatMap((host) => host.running()).sort((a, b) => a.handedAt - b.handedAt)
    return jobs.map(({ id, name, key, arrived, handedAt, settled, progress, request }) => {
      return {
        id, name, key, ageMs: now - arrived, runMs: now - handedAt, aborted: settled, progress, requestId: request?.id
      }
    })
  }

  waiting (): Array<Pick<RunningJob, 'name' | 'key'>> {
    return this.#live.all().filter(({ holder }) => holder === undefined)
  }

  concurrencyOf (name: string): number {
    return this.#registry.jobs.find((job) => job.name === name)?.concurrency ?? Infinity
  }

  cancel (id: string): boolean {
    const job = this.#live.all().find((job) => job.id === id)
    if (job === undefined) return false
    this.#transitions.run(() => this.#abort(job, new OperatorCancelError('The job was cancelled by an operator')))
    return true
  }

  gauges (): ReturnType<PoolView['gauges']> {
    const { running, waiting } = this.#admission
    return { maxThreads: this.#options.maxThreads, threads: this.#threads.hosts.length, running, waiting }
  }

  stats (): PoolStats {
    return { ...this.gauges(), jobs: this.#ledger.jobs() }
  }
}
