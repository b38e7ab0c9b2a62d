/**
 * The pool: what is admitted runs, once, on one of the threads, and its caller hears how it ended.
 * Admission decides who runs; threads run; this hands jobs over, settles their promises, and keeps the threads alive.
 */
import type { FastifyBaseLogger } from 'fastify'
import { COMPLETED, FAILED, UNCLONEABLE, type FromHost, type Outcome } from '../../workers/protocol.ts'
import { describe, fromWire, type WireError } from '../../workers/wire-error.ts'
import type { Clock } from '../clock.ts'
import type { Abandoned, Drainable } from '../drainables.ts'
import {
  ClosingError, JobAbortedError, JobCrashedError, JobsInvalidError, JobThrewError, JobTimeoutError,
  ResultNotCloneableError, WorkersOverloadedError, type Refusal
} from '../errors.ts'
import { Admission } from './admission.ts'
import * as channels from './channels.ts'
import { Job, type JobOwner, type JobSettings } from './job.ts'
import type { ResolvedOptions } from './options.ts'
import { payloadError } from './payload.ts'
import { Threads } from './piscina.ts'
import type { RegisteredJob, Registry } from './registry.ts'
import { Stats, type PoolStats } from './stats.ts'
import { MAX_HELD, Thread, type ThreadOwner } from './thread.ts'

/** How much estimated work, in ms, is handed to a thread beyond what it runs: more would only wait there, where nobody else can take it. */
const AHEAD = 1

/** A thread that has ended no job for this long, in ms, gives back what was handed ahead: the estimate was wrong. */
const STALLED = 5

/** After this many ms without a job the hosts return, so that an idle pool holds no process open. */
const IDLE = 250

/** Before a thread that died while starting is started again, in ms, doubled each time. */
const RESTART = 100
const MAX_RESTART = 5_000

type Count = Parameters<Stats['count']>[1]

export class Pool implements Drainable, JobOwner, ThreadOwner {
  readonly name: string
  readonly phase = 'workers'
  /** Rejects if the jobs can't be loaded. */
  readonly ready: Promise<void>
  readonly #options: ResolvedOptions
  readonly #registry: Registry
  readonly #clock: Clock
  readonly #log: FastifyBaseLogger
  readonly #admission: Admission<Job>
  readonly #stats: Stats
  readonly #threads: readonly Thread[]
  readonly #pool: Threads
  readonly #live = new Set<Job>()
  /** When each thread was started, and how often in a row it died before it was ready. */
  readonly #starts: Array<{ at: number, failures: number }>
  #booting: { resolve: () => void, reject: (error: unknown) => void } | undefined
  #seq = 0
  #closed = false
  #destroyed = false
  #dispatching = false
  #idleWaiters: Array<() => void> = []
  #activeAt = 0
  #idleTimer: NodeJS.Timeout | undefined
  #stallTimer: NodeJS.Timeout | undefined
  readonly #restarts = new Set<NodeJS.Timeout>()

  constructor (registry: Registry, options: ResolvedOptions, clock: Clock, log: FastifyBaseLogger) {
    this.name = options.decorator
    this.#options = options
    this.#registry = registry
    this.#clock = clock
    this.#log = log.child({ pool: options.decorator })
    this.#stats = new Stats(registry.names)
    this.#admission = new Admission<Job>({
      threads: options.maxThreads,
      maxQueue: options.maxQueue,
      maxWait: options.maxWait,
      targetWait: options.targetWait,
      interval: options.interval,
      concurrency: registry.jobs.map(({ concurrency }) => concurrency)
    }, (job, refusal) => this.#refuse(job, refusal))
    const { maxThreads: threads, resourceLimits, execArgv, env } = options
    this.#pool = new Threads({
      threads,
      ...(resourceLimits !== undefined && { resourceLimits }),
      ...(execArgv !== undefined && { execArgv }),
      ...(env !== undefined && { env })
    }, (err) => this.#log.error({ err }, 'an idle worker thread died'))
    this.#threads = Array.from({ length: threads }, (_, index) => new Thread(index, this))
    this.#starts = this.#threads.map(() => ({ at: 0, failures: 0 }))
    this.ready = new Promise((resolve, reject) => { this.#booting = { resolve, reject } })
    // Whoever awaits it gets the rejection; nobody does if the app never boots.
    this.ready.catch(() => {})
    for (const thread of this.#threads) this.#start(thread, true)
  }

  // --- running ---

  run (registered: RegisteredJob, settings: JobSettings): Promise<unknown> {
    if (this.#closed) return Promise.reject(new ClosingError(`The pool "${this.name}"`))
    for (const { aborted, reason } of settings.signals) {
      if (!aborted) continue
      this.#stats.count(registered.index, 'cancelled')
      return Promise.reject(new JobAbortedError(registered.name, { cause: reason }))
    }
    const now = this.#clock.now()
    const job = new Job(++this.#seq, registered, settings, now + settings.timeout, this)
    const refusal = this.#admission.offer(job, now)
    if (refusal !== undefined) {
      this.#refuse(job, refusal)
      return job.promise
    }
    // An offer that evicts may evict the newcomer itself.
    if (job.settled) return job.promise
    this.#live.add(job)
    job.watch(now)
    if (channels.queued.hasSubscribers) channels.queued.publish({ ...this.#event(job), waiting: this.#admission.waiting })
    this.#schedule()
    return job.promise
  }

  #refuse (job: Job, refusal: Refusal): void {
    this.#stats.refused(job.registered.index, refusal.reason)
    this.#live.delete(job)
    if (channels.rejected.hasSubscribers) channels.rejected.publish({ ...this.#event(job), ...refusal })
    job.reject(new WorkersOverloadedError(job.name, refusal))
    this.#checkIdle()
  }

  #event (job: Job): channels.JobEvent {
    return { pool: this.name, job: job.name, id: job.id }
  }

  /** After all that runs now: the continuations of a burst of results ask for more jobs, and one message carries many. */
  #schedule (): void {
    if (this.#dispatching) return
    this.#dispatching = true
    process.nextTick(() => {
      this.#dispatching = false
      this.#dispatch()
    })
  }

  #dispatch (): void {
    if (this.#destroyed) return
    const now = this.#clock.now()
    this.#activeAt = now
    let handedAhead = false
    for (const thread of this.#threads) {
      if (thread.state !== 'ready') continue
      const jobs: Job[] = []
      let work = 0
      if (thread.held === 0) {
        const job = this.#admission.take(now)
        if (job === undefined) break
        jobs.push(job)
        work = this.#admission.estimate(job.registered.index) ?? Infinity
      } else if (thread.held < MAX_HELD / 2 && this.#admission.waiting > 0) {
        work = this.#workOf(thread)
      } else continue
      while (work < AHEAD && thread.held + jobs.length < MAX_HELD) {
        const job = this.#admission.takeShort(now, AHEAD - work)
        if (job === undefined) break
        if (job.transferList !== undefined) {
          // What has moved to a thread can't be taken back from it: such a job goes to a free one only.
          this.#admission.putBack(job, now)
          break
        }
        work += this.#admission.estimate(job.registered.index) ?? 0
        jobs.push(job)
      }
      if (jobs.length > 0) this.#hand(thread, jobs, now)
      handedAhead ||= thread.held > 1
    }
    if (handedAhead) this.#watchForStalls()
    this.#wake()
    this.#sleepWhenIdle()
  }

  #workOf (thread: Thread): number {
    let work = 0
    for (const job of thread.jobs()) work += this.#admission.estimate(job.registered.index) ?? Infinity
    return work
  }

  #hand (thread: Thread, jobs: readonly Job[], now: number): void {
    try {
      thread.hand(jobs, now)
    } catch (error) {
      this.#handEach(thread, jobs, now, error)
      return
    }
    for (const job of jobs) {
      const waitMs = now - job.arrived
      this.#stats.waited(job.registered.index, waitMs)
      if (channels.dispatched.hasSubscribers) channels.dispatched.publish({ ...this.#event(job), waitMs, attempt: job.attempt })
    }
  }

  /** One payload of several can't be cloned: its job fails, the others don't. */
  #handEach (thread: Thread, jobs: readonly Job[], now: number, error: unknown): void {
    if (jobs.length > 1) {
      for (const job of jobs) this.#hand(thread, [job], now)
      return
    }
    const job = jobs[0] as Job
    const { payload } = job
    this.#fail(job, 'failed', () => payloadError(job.name, payload, error))
    this.#finish(job, 0, 'unknown')
    this.#schedule()
  }

  // --- what threads say ---

  onOutcome (thread: Thread, job: Job, [, status, value, runMs]: Outcome): void {
    thread.busySince = this.#clock.now()
    this.#finish(job, runMs, job.settled ? 'censored' : 'completed')
    this.#schedule()
    if (job.settled) return
    const { index, name } = job.registered
    const waitMs = job.handedAt - job.arrived
    this.#stats.ran(index, runMs)
    if (status === COMPLETED) {
      this.#live.delete(job)
      this.#stats.count(index, 'completed')
      if (channels.completed.hasSubscribers) channels.completed.publish({ ...this.#event(job), waitMs, runMs })
      job.log.debug({ job: name, jobId: job.seq, waitMs, durationMs: runMs }, 'job completed')
      job.resolve(value)
      return
    }
    this.#fail(job, 'failed', () => status === UNCLONEABLE ? uncloneableResult(name, value as WireError) : thrown(name, value as WireError))
    if (status === FAILED) job.log.debug({ job: name, jobId: job.seq, waitMs, durationMs: runMs }, 'job failed')
  }

  onLog (job: Job, { log: level, fields, message }: Extract<FromHost, { log: unknown }>): void {
    job.log[level]({ ...fields as object, job: job.name, jobId: job.seq }, message)
  }

  onProgress (job: Job, value: unknown): void {
    if (job.settled) return
    try {
      job.onProgress?.(value)
    } catch (error) {
      this.#stop(job, 'failed', () => error, error)
    }
  }

  onRecycle (thread: Thread, bytes: number): void {
    this.#log.info({ thread: thread.index, bytes, maxThreadMemory: this.#options.maxThreadMemory }, 'a worker thread is past its memory bound and is replaced')
    this.#putBack(thread.revokeAll())
    thread.kill('recycled')
  }

  onReady (thread: Thread): void {
    const start = this.#starts[thread.index] as { at: number, failures: number }
    start.failures = 0
    if (channels.threadStarted.hasSubscribers) channels.threadStarted.publish({ pool: this.name, thread: thread.index, startMs: this.#clock.now() - start.at })
    if (this.#booting !== undefined && this.#threads.every(({ state }) => state === 'ready')) {
      this.#booting.resolve()
      this.#booting = undefined
    }
    this.#schedule()
  }

  onBroken (_thread: Thread, { broken, what }: Extract<FromHost, { broken: unknown }>): void {
    const error = fromWire(broken) as Error
    this.#broken(new JobsInvalidError(what, { cause: error.cause ?? error }))
  }

  #broken (error: Error): void {
    if (this.#booting === undefined) {
      this.#log.error({ err: error }, 'a worker thread can\'t start')
      return
    }
    this.#booting.reject(error)
    this.#booting = undefined
    this.close()
    void this.destroy()
  }

  onEnded (thread: Thread, error: Error | undefined, started: Job | undefined, unstarted: readonly Job[]): void {
    const why = thread.why ?? 'crashed'
    if (channels.threadEnded.hasSubscribers) channels.threadEnded.publish({ pool: this.name, thread: thread.index, why, error })
    const start = this.#starts[thread.index] as { at: number, failures: number }
    if (this.#booting !== undefined) {
      this.#broken(new JobsInvalidError(`A worker thread ended while it loaded the jobs file ${this.#registry.url}: ${howItEnded(error)}`, { cause: error }))
      return
    }
    this.#putBack(unstarted)
    if (started !== undefined) this.#lost(thread, started, error)
    if (why === 'crashed' && started === undefined) {
      this.#log.error({ err: error, thread: thread.index }, 'a worker thread died while it ran no job')
    }
    if (this.#destroyed || why === 'retired') {
      this.#schedule()
      return
    }
    // Replaced at once. One that dies while it starts is tried again later, or it would take a CPU to do nothing.
    const delay = start.failures === 0 ? 0 : Math.min(MAX_RESTART, RESTART * 2 ** (start.failures - 1))
    if (delay === 0) this.#start(thread)
    else {
      const timer = setTimeout(() => {
        this.#restarts.delete(timer)
        if (!this.#destroyed && thread.state === 'stopped') this.#start(thread)
      }, delay)
      this.#restarts.add(timer.unref())
    }
    this.#schedule()
  }

  #lost (thread: Thread, job: Job, error: Error | undefined): void {
    this.#finish(job, this.#clock.now() - thread.busySince, 'censored')
    if (job.settled) {
      job.log.warn({ job: job.name, jobId: job.seq, thread: thread.index }, thread.why === 'killed'
        ? `a job went on for ${this.#options.grace} ms after it was aborted: its thread was replaced`
        : 'a job ended its thread after it was aborted')
      return
    }
    const crash = new JobCrashedError(job.name, howItEnded(error), { cause: error })
    if (channels.crashed.hasSubscribers) channels.crashed.publish({ ...this.#event(job), error: crash })
    this.#fail(job, 'crashed', () => crash)
  }

  /** Jobs that never started go back to the head of the queue. */
  #putBack (jobs: readonly Job[]): void {
    const now = this.#clock.now()
    for (const job of jobs) {
      this.#admission.putBack(job, now)
      if (job.transferList === undefined) continue
      this.#admission.leave(job, this.#clock.now())
      this.#fail(job, 'crashed', () => new JobCrashedError(job.name, 'the thread to which its payload had moved died before it started'))
    }
    if (jobs.length > 0) this.#schedule()
  }

  #finish (job: Job, runMs: number, outcome: 'completed' | 'censored' | 'unknown'): void {
    this.#admission.finish(job, this.#clock.now(), runMs, outcome)
    this.#checkIdle()
  }

  /** Its caller gets the error. Whatever holds the job lets it go on its own. */
  #fail (job: Job, count: Count, error: () => unknown): void {
    if (job.settled) return
    this.#live.delete(job)
    this.#stats.count(job.registered.index, count)
    const reason = error()
    if (count === 'failed' && channels.failed.hasSubscribers) {
      channels.failed.publish({ ...this.#event(job), waitMs: job.handedAt - job.arrived, runMs: this.#clock.now() - job.handedAt, error: reason })
    }
    job.reject(reason)
  }

  // --- stopping a job ---

  onAborted (job: Job, reason: unknown): void {
    if (channels.cancelled.hasSubscribers) channels.cancelled.publish({ ...this.#event(job), where: whereIs(job), reason })
    this.#stop(job, 'cancelled', () => new JobAbortedError(job.name, { cause: reason }), reason)
  }

  onDeadline (job: Job): void {
    const where = whereIs(job)
    const error = new JobTimeoutError(job.name, job.timeout, where)
    if (channels.timedOut.hasSubscribers) channels.timedOut.publish({ ...this.#event(job), where, timeout: job.timeout })
    this.#stop(job, 'timedOut', () => error, error)
  }

  /** Its caller hears at once; a thread that runs it is asked to stop, then ended. */
  #stop (job: Job, count: Count, error: () => unknown, reason: unknown): void {
    if (job.settled) return
    this.#fail(job, count, error)
    const { thread } = job
    if (thread === undefined) {
      this.#admission.leave(job, this.#clock.now())
      this.#checkIdle()
    } else if (thread.revoke(job)) {
      this.#finish(job, 0, 'unknown')
      this.#schedule()
    } else {
      thread.abort(job, reason)
      this.#killAfterGrace(thread, job, this.#options.grace)
    }
  }

  #killAfterGrace (thread: Thread, job: Job, grace: number): void {
    if (grace === Infinity) return
    setTimeout(() => {
      if (job.thread !== thread) return
      this.#putBack(thread.revokeAll())
      thread.kill('killed')
    }, grace).unref()
  }

  // --- the threads' life ---

  #start (thread: Thread, preload = false): void {
    const start = this.#starts[thread.index] as { at: number, failures: number }
    start.at = this.#clock.now()
    start.failures++ // until it says that it is ready
    thread.start(this.#pool, { url: this.#registry.url, names: this.#registry.names, preload, maxMemory: this.#options.maxThreadMemory })
  }

  /** As many retired threads as there are jobs for. */
  #wake (): void {
    let wanted = this.#admission.waiting
    if (wanted === 0) return
    for (const { state } of this.#threads) if (state === 'starting') wanted--
    for (const thread of this.#threads) {
      if (wanted <= 0) return
      // One that failed to start waits for its timer.
      if (thread.state !== 'stopped' || this.#starts[thread.index]?.failures !== 0) continue
      this.#start(thread)
      wanted--
    }
  }

  #sleepWhenIdle (): void {
    if (this.#idleTimer !== undefined || this.#destroyed) return
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = undefined
      if (this.pending > 0 || this.#clock.now() - this.#activeAt < IDLE) this.#sleepWhenIdle()
      else for (const thread of this.#threads) if (thread.state === 'ready' && thread.held === 0) thread.retire()
    }, IDLE).unref()
  }

  /** Jobs handed ahead behind one that takes longer than its estimate are taken back for the other threads. */
  #watchForStalls (): void {
    if (this.#stallTimer !== undefined) return
    const before = this.#threads.map(({ ended }) => ended)
    this.#stallTimer = setTimeout(() => {
      this.#stallTimer = undefined
      const holding = this.#threads.filter(({ held }) => held > 1)
      for (const thread of holding) if (thread.ended === before[thread.index]) this.#putBack(thread.revokeAll())
      if (holding.length > 0) this.#watchForStalls()
    }, STALLED).unref()
  }

  // --- draining ---

  get pending (): number {
    return this.#admission.waiting + this.#admission.running
  }

  get completed (): number {
    return this.#stats.ended
  }

  get closed (): boolean {
    return this.#closed
  }

  close (): void {
    this.#closed = true
  }

  /** Decided by looking, not by counting events. */
  #checkIdle (): void {
    if (this.#idleWaiters.length === 0 || this.pending > 0) return
    const waiters = this.#idleWaiters
    this.#idleWaiters = []
    for (const resolve of waiters) resolve()
  }

  async idle (): Promise<void> {
    if (this.pending > 0) await new Promise<void>((resolve) => { this.#idleWaiters.push(resolve) })
  }

  async abandon (grace: number): Promise<Abandoned[]> {
    const now = this.#clock.now()
    const jobs = [...this.#live]
    const abandoned = jobs.map((job): Abandoned => ({ kind: 'job', name: job.name, id: job.id, ageMs: Math.round(now - job.arrived), attempt: job.attempt }))
    for (const job of jobs) {
      const reason = new ClosingError(`The pool "${this.name}"`)
      this.#stop(job, 'cancelled', () => new JobAbortedError(job.name, { cause: reason }), reason)
      if (job.thread !== undefined) this.#killAfterGrace(job.thread, job, grace)
    }
    await this.idle()
    return abandoned
  }

  /** Ends the threads. What still runs on them is lost: drain first. */
  async destroy (): Promise<void> {
    this.#closed = true
    if (this.#destroyed) return
    this.#destroyed = true
    clearTimeout(this.#idleTimer)
    clearTimeout(this.#stallTimer)
    for (const timer of this.#restarts) clearTimeout(timer)
    if (this.#booting !== undefined) {
      this.#booting.reject(new ClosingError(`The pool "${this.name}"`))
      this.#booting = undefined
    }
    for (const thread of this.#threads) if (thread.state === 'ready' && thread.held === 0) thread.retire()
    await this.#pool.destroy()
  }

  /** A job's mean run time in ms, if it has run. */
  estimate (job: number): number | undefined {
    return this.#admission.estimate(job)
  }

  stats (): PoolStats {
    const { running, waiting } = this.#admission
    return {
      maxThreads: this.#threads.length,
      threads: this.#threads.filter(({ state }) => state === 'ready').length,
      running,
      waiting,
      jobs: this.#stats.snapshot()
    }
  }
}

function whereIs (job: Job): 'queued' | 'running' {
  return job.thread === undefined ? 'queued' : 'running'
}

function thrown (name: string, wire: WireError): unknown {
  const value = fromWire(wire)
  return wire.isError ? value : new JobThrewError(name, wire.message, { cause: value })
}

function uncloneableResult (name: string, wire: WireError): Error {
  return new ResultNotCloneableError(name, String(wire.fields['path']), { cause: fromWire(wire) })
}

function howItEnded (error: Error | undefined): string {
  if (error === undefined) return 'it ended'
  const { code } = error as { code?: unknown }
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return 'out of memory'
  const exit = /exited with code: (\d+)/.exec(error.message)
  if (exit !== null) return `exited with code ${exit[1]}`
  return error.name === 'AbortError' ? 'it was ended' : `uncaught ${describe(error) === 'an object' ? `${error.name}: ${error.message}` : describe(error)}`
}
