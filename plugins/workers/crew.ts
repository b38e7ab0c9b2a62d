/**
 * The threads' life: boot, replacement at once, retirement when idle, end. It knows no job but to hand back those of a dead thread.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { FromHost } from '../../workers/protocol.ts'
import { fromWire } from '../../workers/wire-error.ts'
import type { Clock } from '../clock.ts'
import { ClosingError, JobsInvalidError } from '../errors.ts'
import * as channels from './channels.ts'
import { howItEnded } from './ending.ts'
import type { Job } from './job.ts'
import type { ResolvedOptions } from './options.ts'
import { Threads } from './piscina.ts'
import type { Registry } from './registry.ts'
import { Thread, type JobEvents, type LifeEvents } from './thread.ts'

/** Before a thread that died while it started is started again, in ms, doubled each time: at once, it would only burn a CPU. */
const RESTART = 100
const MAX_RESTART = 5_000

/** What a crew needs to hand back. */
export interface CrewOwner {
  /** There may be a free thread. */
  onFree (): void
  /** Jobs of a dead thread that it never started, in order. */
  onReturned (jobs: readonly Job[]): void
  /** A job that a dead thread was running, or that has ended a second thread before it could be started. */
  onLost (thread: Thread, job: Job, error: Error | undefined): void
}

interface Start {
  at: number
  /** How often in a row it died before it was ready. */
  failures: number
  timer: NodeJS.Timeout | undefined
}

export class Crew implements LifeEvents {
  readonly threads: readonly Thread[]
  /** Resolves when every thread has loaded the jobs. */
  readonly ready: Promise<void>
  readonly #options: ResolvedOptions
  readonly #registry: Registry
  readonly #clock: Clock
  readonly #log: FastifyBaseLogger
  readonly #owner: CrewOwner
  readonly #pool: Threads
  readonly #starts: readonly Start[]
  #boot: PromiseWithResolvers<void> | undefined = withResolvers()
  #destroyed = false

  constructor (registry: Registry, options: ResolvedOptions, clock: Clock, log: FastifyBaseLogger, owner: CrewOwner & JobEvents) {
    this.#options = options
    this.#registry = registry
    this.#clock = clock
    this.#log = log
    this.#owner = owner
    const { maxThreads: threads, resourceLimits, execArgv, env } = options
    this.#pool = new Threads({
      threads,
      ...(resourceLimits !== undefined && { resourceLimits }),
      ...(execArgv !== undefined && { execArgv }),
      ...(env !== undefined && { env })
    }, (err) => this.#died(err))
    this.threads = Array.from({ length: threads }, (_, index) => new Thread(index, this, owner))
    this.#starts = this.threads.map(() => ({ at: 0, failures: 0, timer: undefined }))
    this.ready = (this.#boot as PromiseWithResolvers<void>).promise
    // Whoever awaits it gets the rejection; nobody does if the app never boots.
    this.ready.catch(() => {})
    for (const thread of this.threads) this.#start(thread, true)
  }

  #start (thread: Thread, preload: boolean): void {
    const start = this.#starts[thread.index] as Start
    start.at = this.#clock.now()
    start.timer = undefined
    const { url, names } = this.#registry
    thread.start(this.#pool, { url, names, preload, maxMemory: this.#options.maxThreadMemory })
  }

  /** Starts as many retired threads as there are jobs waiting. */
  wake (waiting: number): void {
    if (this.#destroyed || waiting === 0) return
    let wanted = waiting
    for (const { state } of this.threads) if (state === 'starting') wanted--
    for (const thread of this.threads) {
      if (wanted <= 0) return
      if (thread.state !== 'stopped' || this.#starts[thread.index]?.timer !== undefined) continue
      this.#start(thread, false)
      wanted--
    }
  }

  /** Lets the threads' hosts return, so that an idle pool holds no process open. */
  retire (): void {
    // While it boots, the first threads wait for the last: the pool is ready when all are.
    if (this.#boot !== undefined) return
    for (const thread of this.threads) if (thread.state === 'ready' && thread.held === 0) thread.retire()
  }

  /** What still runs is lost. */
  async destroy (): Promise<void> {
    this.#destroyed = true
    for (const { timer } of this.#starts) clearTimeout(timer)
    this.#failBoot(new ClosingError(`The pool "${this.#options.decorator}"`))
    this.retire()
    await this.#pool.destroy()
  }

  #failBoot (error: Error): void {
    this.#boot?.reject(error)
    this.#boot = undefined
  }

  onReady (thread: Thread): void {
    const start = this.#starts[thread.index] as Start
    start.failures = 0
    if (channels.threadStarted.hasSubscribers) channels.threadStarted.publish({ ...this.#event(thread), startMs: this.#clock.now() - start.at })
    if (this.#boot !== undefined && this.threads.every(({ wasReady }) => wasReady)) {
      this.#boot.resolve()
      this.#boot = undefined
    }
    this.#owner.onFree()
  }

  onBroken (_thread: Thread, { broken, what }: Extract<FromHost, { broken: unknown }>): void {
    const error = fromWire(broken) as Error
    this.#cannotStart(new JobsInvalidError(what, { cause: error.cause ?? error }))
  }

  onRecycle (thread: Thread, bytes: number): void {
    this.#log.info({ thread: thread.index, bytes, maxThreadMemory: this.#options.maxThreadMemory }, 'a worker thread is past its memory bound and is replaced')
    this.#owner.onReturned(thread.revokeMovable())
    thread.recycle()
  }

  onEnded (thread: Thread, error: Error | undefined, lost: readonly Job[], unstarted: readonly Job[]): void {
    const why = thread.why ?? 'crashed'
    if (channels.threadEnded.hasSubscribers) channels.threadEnded.publish({ ...this.#event(thread), why, error })
    this.#owner.onReturned(unstarted)
    for (const job of lost) this.#owner.onLost(thread, job, error)
    if (this.#destroyed) return
    if (thread.wasReady) {
      if (why === 'crashed' && lost.length === 0) this.#died(error)
      // A retired one is started when there is a job for it.
      if (why !== 'retired') this.#start(thread, false)
    } else {
      if (error !== undefined) this.#cannotStart(new JobsInvalidError(`A worker thread ended while it loaded ${this.#registry.url}: ${howItEnded(error)}`, { cause: error }))
      this.#restartLater(thread)
    }
    this.#owner.onFree()
  }

  #restartLater (thread: Thread): void {
    if (this.#destroyed) return
    const start = this.#starts[thread.index] as Start
    const delay = Math.min(MAX_RESTART, RESTART * 2 ** start.failures++)
    // Holds the process open, since jobs may wait for it; it ends by itself, and the thread is started only if one does.
    start.timer = setTimeout(() => {
      start.timer = undefined
      this.#owner.onFree()
    }, delay)
  }

  #cannotStart (error: Error): void {
    if (this.#boot !== undefined) this.giveUp(error)
    else if (!this.#destroyed) this.#log.error({ err: error }, 'a worker thread can\'t start')
  }

  /** At boot the app is told, and nothing may be left that holds the process open. */
  giveUp (error: Error): void {
    if (this.#boot === undefined) return
    this.#failBoot(error)
    void this.destroy()
  }

  #died (err: Error | undefined): void {
    if (!this.#destroyed) this.#log.error({ err }, 'a worker thread died while it ran no job')
  }

  #event (thread: Thread): channels.ThreadEvent {
    return { pool: this.#options.decorator, thread: thread.index }
  }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

/** Promise.withResolvers, which Node 20 doesn't have. */
function withResolvers (): PromiseWithResolvers<void> {
  let resolve!: () => void
  let reject!: (error: unknown) => void
  const promise = new Promise<void>((...both) => { [resolve, reject] = both })
  return { promise, resolve, reject }
}
