/**
 * The pool: what is admitted runs, at most once, on one of the threads, and its caller hears how it ended.
 * Admission decides who runs next; the crew keeps threads alive; this hands jobs over, stops them, and settles their promises.
 */
import type { FastifyBaseLogger } from 'fastify'
import { COMPLETED, FAILED, type JobLine, type Outcome } from '../../../workers/protocol.ts'
import { fromWire } from '../../../workers/wire-error.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Unfinished, Drainable } from '../../shared/drainables.ts'
import { ClosingError, JobAbortedError, JobCrashedError, JobTimeoutError, WorkersOverloadedError, WorkersUnavailableError, type Refusal } from '../../shared/errors.ts'
import { LiveList } from '../../shared/dense-set.ts'
import { Admission } from '../admission/admission.ts'
import { Crew, ENDING, type CrewOwner } from '../threads/thread-manager.ts'
import { Deadlines } from './deadlines.ts'
import { Dispatcher } from './dispatcher.ts'
import { howItEnded } from '../threads/ending.ts'
import { Graces } from '../threads/kill-timers.ts'
import { Job, type JobOwner, type JobSettings } from './job.ts'
import { jobError, resultError, unreadError, unsentError } from '../threads/job-error.ts'
import { Ledger } from './telemetry.ts'
import type { ResolvedOptions } from '../options.ts'
import type { RegisteredJob, Registry } from '../registry.ts'
import type { PoolStats } from './stats.ts'
import { within } from '../../shared/within.ts'
import type { JobEvents, Thread } from '../threads/thread.ts'
import { Transitions } from '../threads/transitions.ts'

export class Pool implements Drainable, JobOwner, JobEvents, CrewOwner {
  readonly name: string
  readonly phase = 'workers'
  readonly #options: ResolvedOptions
  readonly #clock: Clock
  readonly #admission: Admission<Job>
  readonly #ledger: Ledger
  readonly #crew: Crew
  readonly #log: FastifyBaseLogger
  readonly #dispatcher: Dispatcher
  readonly #live = new LiveList<Job>()
  readonly #deadlines: Deadlines
  readonly #transitions = new Transitions()
  readonly #graces = new Graces(this.#transitions.run, (thread) => this.#crew.kill(thread))
  #seq = 0
  #closed = false
  /** Why there are no threads: the boot failed. */
  #broken: Error | undefined
  #idleWaiters: Array<() => void> = []

  constructor (registry: Registry, options: ResolvedOptions, clock: Clock, log: FastifyBaseLogger) {
    this.name = options.decorator
    this.#options = options
    this.#clock = clock
    this.#deadlines = new Deadlines(this.#live, clock.now)
    this.#ledger = new Ledger(options.decorator, registry.names)
    const { maxThreads: threads, maxQueue, maxWait, orderWait, targetWait } = options
    const concurrency = registry.jobs.map((job) => job.concurrency)
    this.#admission = new Admission<Job>({ threads, maxQueue, maxWait, orderWait, targetWait, concurrency }, (job, refusal) => this.#refuse(job, refusal))
    this.#log = log.child({ pool: options.decorator })
    this.#crew = new Crew(registry, options, clock, this.#log, this, this.#transitions)
    this.#dispatcher = new Dispatcher(this.#admission, this.#crew, clock, {
      onDispatched: (job) => this.#ledger.dispatched(job),
      onUnsent: (job, cause) => this.#unsent(job, unsentError(job, cause)),
      onReturned: (jobs) => this.onReturned(jobs)
    }, this.#transitions)
    // No thread will come for what was run before the app was ready.
    this.#crew.ready.catch((error: Error) => this.#transitions.run(() => this.#break(error)))
  }

  /** Resolves when every thread has loaded the jobs; rejects if one can't. */
  get ready (): Promise<void> {
    return this.#crew.ready
  }

  /** Ends the boot with an error, if it hasn't ended. */
  failBoot (error: Error): void {
    this.#crew.giveUp(error)
  }

  run (registered: RegisteredJob, settings: JobSettings): Promise<unknown> {
    if (this.#closed) return this.#refused(new ClosingError(`The pool "${this.name}"`))
    if (this.#broken !== undefined) return this.#refused(this.#broken)
    const now = this.#clock.now()
    const job = new Job(++this.#seq, registered, settings, now, this)
    this.#transitions.run(() => this.#offer(job, settings.signals, now))
    return job.promise
  }

  #offer (job: Job, signals: readonly AbortSignal[], now: number): void {
    const aborted = signals.find((signal) => signal.aborted)
    if (aborted !== undefined) {
      this.#abort(job, aborted.reason)
      return
    }
    this.#live.add(job)
    const refusal = this.#admission.offer(job, now)
    if (refusal !== undefined) {
      this.#refuse(job, refusal)
      return
    }
    job.listen()
    this.#deadlines.watch(job, now)
    this.#ledger.queued(job, this.#admission.waiting)
    this.#dispatcher.schedule()
  }

  #refused (error: Error): Promise<never> {
    const refused = Promise.reject(error)
    refused.catch(() => {})
    return refused
  }

  /** Those whose callers wait, in the order of their calls. */
  #liveJobs (): Job[] {
    return this.#live.all().sort((a, b) => a.seq - b.seq)
  }

  #break (error: Error): void {
    this.#broken = error
    for (const job of this.#liveJobs()) {
      this.#reject(job, error)
      this.#stop(job, error)
      this.#ledger.failed(job, 0, error)
    }
  }

  /** At its arrival, or later in favour of others. */
  #refuse (job: Job, refusal: Refusal): void {
    this.#ledger.refused(job, refusal)
    this.#rejectQuietly(job, new WorkersOverloadedError(job.name, refusal))
    this.#checkIdle()
  }

  #reject (job: Job, error: unknown): void {
    this.#live.delete(job)
    job.reject(error)
  }

  /**
   * Rejects with what the load, the client or a thread did, and no code of the application. Of two jobs that a handler awaits one after
   * the other the second then rejects unheard, and a client that leaves must not end the process by that.
   */
  #rejectQuietly (job: Job, error: unknown): void {
    job.promise.catch(() => {})
    this.#reject(job, error)
  }

  // --- what a thread says of its jobs ---

  onOutcome (thread: Thread, job: Job, [, status, value, runMs]: Outcome): void {
    // One that was stopped would have run longer.
    this.#release(job, runMs, job.settled ? 'censored' : 'completed', thread.heardAt)
    if (job.settled) return
    if (status === COMPLETED) {
      this.#live.delete(job)
      job.resolve(value)
      this.#ledger.completed(job, runMs)
      return
    }
    const error = status === FAILED ? jobError(job.name, value) : resultError(job.name, status, value)
    this.#reject(job, error)
    this.#ledger.failed(job, runMs, error)
  }

  onLog (job: Job | undefined, { log: level, seq, job: name, fields, errors, message }: JobLine): void {
    const revived = errors === undefined ? undefined : Object.fromEntries(Object.entries(errors).map(([key, wire]) => [key, fromWire(wire)]))
    const log = job?.log ?? this.#log
    log[level]({ ...fields, ...revived, job: name, jobId: seq }, message)
  }

  onProgress (job: Job, value: unknown): void {
    if (job.settled || job.onProgress === undefined) return
    try {
      const returned = job.onProgress(value) as PromiseLike<void> | void
      if (typeof returned?.then === 'function') returned.then(undefined, (error: unknown) => this.#onProgressFailed(job, error))
    } catch (error) {
      this.#onProgressFailed(job, error)
    }
  }

  #onProgressFailed (job: Job, error: unknown): void {
    this.#transitions.run(() => this.#failProgress(job, error))
  }

  #failProgress (job: Job, error: unknown): void {
    if (job.settled) return
    const runMs = this.#clock.now() - job.handedAt
    this.#reject(job, error)
    this.#stop(job, error)
    this.#ledger.failed(job, runMs, error)
  }

  onUnreadable (job: Job | undefined, err: unknown): void {
    // A job that reports its progress may do so a thousand times.
    if (job?.saidUnreadable === true) return
    if (job !== undefined) job.saidUnreadable = true
    const log = job?.log ?? this.#log
    log.warn({ err, ...(job !== undefined && { job: job.name, jobId: job.seq }) }, 'a progress value or log line of a job is dropped: it is nested too deeply, or too large, for the main thread to read')
  }

  onUnread (jobs: readonly Job[], alone: boolean, cause: unknown): void {
    for (const job of jobs) {
      if (alone) this.#unsent(job, unreadError(job.name, cause))
      else {
        // Any of them may be the one that can't be read.
        job.suspect = true
        this.#admission.putBack(job)
      }
    }
    this.#dispatcher.schedule()
  }

  onFault (err: unknown): void {
    try {
      this.#log.error({ err }, 'what a worker thread said could not be dealt with')
    } catch { /* It is the logger that throws. */ }
  }

  onRoom (): void {
    this.#dispatcher.schedule()
  }

  /** The thread is done with it. */
  #release (job: Job, runMs: number, outcome: 'completed' | 'censored' | 'unknown', now = this.#clock.now()): void {
    this.#admission.finish(job, now, runMs, outcome)
    this.#graces.end(job)
    this.#checkIdle()
    this.#dispatcher.schedule()
  }

  #unsent (job: Job, error: Error): void {
    if (!job.settled) {
      this.#ledger.failed(job, 0, error)
      this.#reject(job, error)
    }
    this.#release(job, 0, 'unknown')
  }

  // --- what the crew says of its threads ---

  onFree (): void {
    this.#dispatcher.schedule()
  }

  /** Jobs that no thread has started go back to the head of the queue. */
  onReturned (jobs: readonly Job[]): void {
    for (const job of jobs) {
      if (job.transferList === undefined) {
        this.#admission.putBack(job)
        continue
      }
      this.#crashed(job, new JobCrashedError(job.name, 'its payload had moved to a thread that died before it started the job'))
      this.#release(job, 0, 'unknown')
    }
    if (jobs.length > 0) this.#dispatcher.schedule()
  }

  /** No thread can be started: those who wait are told, and who comes next waits for the next attempt. */
  onUnable (cause: Error, retryAfter: number): void {
    for (const job of this.#liveJobs()) {
      const error = new WorkersUnavailableError(job.name, retryAfter, { cause })
      this.#ledger.failed(job, 0, error)
      this.#rejectQuietly(job, error)
      this.#stop(job, error)
    }
  }

  onLost (thread: Thread, job: Job, cause: Error | undefined): void {
    if (job.settled) {
      job.log.warn({ job: job.name, jobId: job.seq, grace: this.#options.grace }, thread.why === 'killed'
        ? 'a job went on after it was aborted, for longer than its grace: its thread was replaced'
        : 'a job ended its thread after it was aborted')
    } else {
      this.#crashed(job, new JobCrashedError(job.name, howItEnded(cause), { cause }))
    }
    this.#release(job, this.#clock.now() - thread.busySince, 'censored')
  }

  #crashed (job: Job, error: Error): void {
    this.#ledger.crashed(job, error)
    this.#rejectQuietly(job, error)
  }

  // --- stopping a job: its caller hears at once, a thread that runs it is asked to stop, then ended ---

  onAborted (job: Job, reason: unknown): void {
    this.#transitions.run(() => this.#abort(job, reason))
  }

  #abort (job: Job, reason: unknown): void {
    if (job.settled) return
    this.#ledger.cancelled(job, reason)
    this.#rejectQuietly(job, new JobAbortedError(job.name, { cause: reason }))
    this.#stop(job, reason)
  }

  onDeadline (job: Job): void {
    this.#transitions.run(() => this.#timeOut(job))
  }

  #timeOut (job: Job): void {
    // Its result may have come while this event loop stood still.
    job.thread?.poll()
    if (job.settled) return
    this.#ledger.timedOut(job)
    const error = new JobTimeoutError(job.name, job.timeout, job.where)
    this.#rejectQuietly(job, error)
    this.#stop(job, error)
  }

  #stop (job: Job, reason: unknown): void {
    const { thread } = job
    this.#admission.leave(job, this.#clock.now())
    if (thread === undefined) this.#checkIdle()
    else if (thread.revoke(job)) this.#release(job, 0, 'unknown')
    else {
      thread.abort(job, reason)
      this.#graces.give(this.#options.grace, thread, job)
    }
  }

  // --- draining ---

  get pending (): number {
    return this.#admission.waiting + this.#admission.running
  }

  get timers (): number {
    return this.#graces.size
  }

  get completed (): number {
    return this.#ledger.completedJobs
  }

  close (): void {
    this.#closed = true
  }

  #checkIdle (): void {
    if (this.#idleWaiters.length === 0 || this.pending > 0) return
    const waiters = this.#idleWaiters
    this.#idleWaiters = []
    for (const resolve of waiters) resolve()
  }

  async idle (): Promise<void> {
    if (this.pending > 0) await new Promise<void>((resolve) => { this.#idleWaiters.push(resolve) })
  }

  held (): Unfinished[] {
    const now = this.#clock.now()
    const held = new Set([...this.#liveJobs(), ...this.#crew.threads.flatMap((thread) => thread.jobs())])
    return [...held].map(({ name, id, arrived, attempt }) => ({ kind: 'job', name, id, ageMs: Math.round(now - arrived), attempt }))
  }

  async giveUp (grace: number): Promise<Unfinished[]> {
    this.close()
    const unfinished = this.held()
    const reason = new ClosingError(`The pool "${this.name}"`)
    this.#transitions.run(() => {
      for (const job of this.#liveJobs()) {
        this.#ledger.cancelled(job, reason)
        this.#rejectQuietly(job, reason)
        this.#stop(job, reason)
      }
      // Those too that were aborted before: their own grace may be longer.
      for (const thread of this.#crew.threads) for (const job of thread.jobs()) this.#graces.give(grace, thread, job)
    })
    // A thread in native code ends when that returns, which a shutdown can't wait for.
    await within(grace + ENDING, this.idle())
    return unfinished
  }

  /** Ends the threads. What still runs on them is lost: drain first. */
  async destroy (): Promise<void> {
    this.close()
    this.#dispatcher.stop()
    this.#deadlines.stop()
    this.#graces.clear()
    await this.#crew.destroy()
  }

  /** A job's mean run time in ms, if it has run. */
  estimate (job: number): number | undefined {
    return this.#admission.estimate(job)
  }

  stats (): PoolStats {
    const { running, waiting } = this.#admission
    const { threads } = this.#crew
    return { maxThreads: threads.length, threads: threads.filter(({ state }) => state === 'ready').length, running, waiting, jobs: this.#ledger.jobs() }
  }
}
