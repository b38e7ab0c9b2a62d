/**
 * Keeps the pool's threads alive: boot, replacement, parking when idle, end. It knows no job but to hand back those of a dead thread.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { FromHost } from '../../../workers/protocol.ts'
import { fromWire } from '../../../workers/wire-error.ts'
import type { Clock } from '../../shared/clock.ts'
import { ClosingError, JobsInvalidError, OptionInvalidError } from '../../shared/errors.ts'
import { within } from '../../shared/within.ts'
import * as channels from '../channels.ts'
import { howItEnded } from './ending.ts'
import type { Job } from '../pool/job.ts'
import type { ResolvedOptions } from '../options.ts'
import { absolutePreloads, checkHost, OsThread, withoutRefused, type ThreadSettings } from './piscina.ts'
import type { Registry } from '../registry.ts'
import { Thread, type Due, type JobEvents, type LifeEvents } from './thread.ts'
import type { Transitions } from './transitions.ts'
import { TICK, Watchdog } from './watchdog.ts'

/** The delay before a thread that died without having done anything is started again, in ms, doubled each time: at once, it would only burn a CPU. */
const RESTART = 100
const MAX_RESTART = 5_000

/** When no thread has started for this long, in ms, the jobs that wait are rejected at each further failure. */
const UNABLE = 5_000

/** A thread that was handed a job begins it within a fraction of a millisecond. After so many ticks without a beginning, it is held up. */
const HELD_UP = 5

/** How often the time that a thread has is doubled: a machine that is slow for a while must not end every thread just before it is ready. */
const MAX_DOUBLINGS = 3

/** The time that a replacement has to start, in ms: its imports compete with the load. */
function startLimit (slowest: number): number {
  return Math.max(2_000, Math.min(10 * slowest, 10_000), 2 * slowest)
}

const NATIVE = 'a worker thread can\'t be ended before the native code that it runs has returned: it counts as one of maxThreads until then'

/** The time that a thread takes to end, in ms, if no native code holds it up. */
export const ENDING = 1_000

/** What a crew needs to hand back. */
export interface CrewOwner {
  /** There may be a free thread. */
  onFree (): void
  /** Jobs of a dead thread that it never started, in order. */
  onReturned (jobs: readonly Job[]): void
  /** A job that a dead thread was running, or that has ended a second thread before it could be started. */
  onLost (thread: Thread, job: Job, error: Error | undefined): void
  /** No thread is left, and none has started for a while. The next is tried within `retryAfter` seconds. */
  onUnable (error: Error, retryAfter: number): void
}

interface Start {
  at: number
  /** How often in a row the thread died without having done anything, and since when. */
  failures: number
  failingSince: number
  /** The time that the thread has for what is due, in ticks. */
  limit: number
  /** The thread was parked, with all that it has loaded. */
  parked: boolean
  /** What the thread said of the jobs that it can't load. */
  broken: Error | undefined
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
  #settings: ThreadSettings
  readonly #starts: readonly Start[]
  readonly #watchdog: Watchdog
  /** Ticks that a held-up thread is given before it is ended. An endless grace is for jobs, and no job runs there. */
  readonly #grace: number
  /** The slowest start, in ms. */
  #slowest = 0
  #boot: PromiseWithResolvers<void> | undefined = withResolvers()
  #destroyed = false
  #onGone = (): void => {}

  constructor (registry: Registry, options: ResolvedOptions, clock: Clock, log: FastifyBaseLogger, owner: CrewOwner & JobEvents, transitions: Transitions) {
    checkHost()
    this.#options = options
    this.#registry = registry
    this.#clock = clock
    this.#log = log
    this.#owner = owner
    this.#grace = Math.ceil((options.grace === Infinity ? ENDING : options.grace) / TICK)
    const { maxThreads: threads, resourceLimits, env } = options
    const given = options.execArgv ?? process.execArgv
    const absolute = absolutePreloads(given, process.cwd())
    const execArgv = absolute.every((argument, index) => argument === given[index]) ? options.execArgv : absolute
    this.#settings = {
      ...(resourceLimits !== undefined && { resourceLimits }),
      ...(execArgv !== undefined && { execArgv }),
      ...(env !== undefined && { env })
    }
    this.threads = Array.from({ length: threads }, (_, index) => new Thread(index, this, owner, transitions))
    this.#starts = this.threads.map(() => ({ at: 0, failures: 0, failingSince: 0, limit: 0, parked: false, broken: undefined, timer: undefined }))
    this.#watchdog = new Watchdog(this.threads, transitions.run, (thread, due, ticks) => this.#onWaiting(thread, due, ticks))
    this.ready = (this.#boot as PromiseWithResolvers<void>).promise
    // Whoever awaits it gets the rejection; nobody does if the app never boots.
    this.ready.catch(() => {})
    for (const thread of this.threads) this.#start(thread, true)
  }

  #start (thread: Thread, preload: boolean): void {
    if (this.#destroyed) return
    const start = this.#starts[thread.index] as Start
    start.at = this.#clock.now()
    start.parked = thread.parked
    start.broken = undefined
    start.limit = start.parked ? HELD_UP + this.#grace : Math.ceil(startLimit(this.#slowest) / TICK) * 2 ** Math.min(start.failures, MAX_DOUBLINGS)
    const { url, names } = this.#registry
    try {
      thread.start((onGone) => new OsThread(this.#settings, onGone), { url, names, preload, maxMemory: this.#options.maxThreadMemory })
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ERR_WORKER_INVALID_EXEC_ARGV') {
        // Options of the whole process, such as V8's: they hold in its threads anyway.
        if (this.#options.execArgv === undefined && this.#settings.execArgv !== undefined) {
          this.#settings = withoutRefused(this.#settings, error as Error)
          this.#start(thread, preload)
          return
        }
        throw new OptionInvalidError('workers.execArgv', 'Node options that a worker thread takes', (error as Error).message)
      }
      // The operating system refuses a thread when there are too many, or too little memory. Both may pass.
      this.#failed(thread, new JobsInvalidError(`A worker thread can't be started: ${(error as Error).message}`, { cause: error }))
      return
    }
    this.watch()
  }

  /** Starts as many stopped threads as there are jobs waiting. */
  wake (waiting: number): void {
    if (this.#destroyed || waiting === 0) return
    let wanted = waiting
    for (const thread of this.threads) if (thread.state === 'starting' && !thread.heldUp) wanted--
    for (const thread of this.threads) {
      if (wanted <= 0) return
      if (!thread.startable || this.#starts[thread.index]?.timer !== undefined) continue
      this.#start(thread, false)
      wanted--
    }
  }

  /** Lets the threads' hosts return, so that an idle pool holds no process open. */
  retire (): void {
    // While it boots, the first threads wait for the last: the pool is ready when all are.
    if (this.#boot !== undefined) return
    for (const thread of this.threads) if (thread.state === 'ready' && thread.held === 0) thread.retire()
    this.watch()
  }

  /** A thread has something to do from now on. */
  watch (): void {
    this.#watchdog.watch()
  }

  /** Ends a thread, whatever it is doing. */
  kill (thread: Thread): void {
    this.#owner.onReturned(thread.kill())
    this.watch()
  }

  /** What still runs is lost. Doesn't wait for a thread in native code, which ends when that returns. */
  async destroy (): Promise<void> {
    this.#destroyed = true
    for (const { timer } of this.#starts) clearTimeout(timer)
    this.#failBoot(new ClosingError(`The pool "${this.#options.decorator}"`))
    this.retire()
    this.#watchdog.stop()
    for (const thread of this.threads) thread.destroy()
    const gone = new Promise<void>((resolve) => {
      this.#onGone = () => { if (this.threads.every((thread) => thread.gone)) resolve() }
      this.#onGone()
    })
    if (!await within(ENDING, gone)) this.#log.warn(NATIVE)
  }

  #failBoot (error: Error): void {
    this.#boot?.reject(error)
    this.#boot = undefined
  }

  onReady (thread: Thread): void {
    const { at, parked } = this.#starts[thread.index] as Start
    const startMs = this.#clock.now() - at
    if (!parked) this.#slowest = Math.max(this.#slowest, startMs)
    if (channels.threadStarted.hasSubscribers) channels.threadStarted.publish({ ...this.#event(thread), startMs })
    if (this.#boot !== undefined && this.threads.every(({ wasReady }) => wasReady)) {
      this.#boot.resolve()
      this.#boot = undefined
    }
    this.#owner.onFree()
  }

  onBroken (thread: Thread, { broken, what }: Extract<FromHost, { broken: unknown }>): void {
    const cause = fromWire(broken) as Error
    const error = new JobsInvalidError(what, { cause: cause.cause ?? cause })
    if (this.#boot !== undefined) this.giveUp(error)
    else {
      (this.#starts[thread.index] as Start).broken = error
      // A module that failed once fails again in the same thread, whatever its file holds by then.
      this.kill(thread)
    }
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
    if (this.#destroyed) {
      this.#onGone()
      return
    }
    const start = this.#starts[thread.index] as Start
    if (thread.served) start.failures = 0
    if (!thread.wasReady) this.#neverReady(thread, start, error)
    else if (why === 'crashed' && lost.length === 0) {
      this.#died(error)
      // It may die again and again. Once it has done something, or was to, it is jobs that drive that, and they are bounded.
      if (thread.served || unstarted.length > 0) this.#start(thread, false)
      else this.#restartLater(thread)
    } else if (why !== 'retired') this.#start(thread, false) // A parked thread starts when there is a job for it.
    this.#owner.onFree()
  }

  #neverReady (thread: Thread, start: Start, error: Error | undefined): void {
    if (start.parked && start.broken === undefined) {
      // A finished job had left behind what held it up, or ended it.
      this.#start(thread, false)
      return
    }
    const { url } = this.#registry
    this.#failed(thread, start.broken ?? (thread.why === 'killed'
      ? new JobsInvalidError(`A worker thread has not loaded ${url} within ${start.limit * TICK} ms`)
      : new JobsInvalidError(`A worker thread ended while it loaded ${url}: ${howItEnded(error)}`, { cause: error })))
  }

  onParkedDied (_thread: Thread, error: Error): void {
    this.#died(error)
    if (this.#destroyed) this.#onGone()
    else this.#owner.onFree()
  }

  #onWaiting (thread: Thread, due: Due, ticks: number): void {
    const start = this.#starts[thread.index] as Start
    if (due === 'end') {
      if (ticks === ENDING / TICK) this.#log.warn({ thread: thread.index }, NATIVE)
      return
    }
    // While the app boots, boot.ts bounds the time.
    if (due === 'start' && this.#boot !== undefined) return
    if (ticks === HELD_UP) {
      // Another one may start for the jobs that wait.
      thread.heldUp = true
      this.#owner.onFree()
    }
    if (due === 'start') {
      if (ticks >= start.limit) this.kill(thread)
      return
    }
    // A payload that takes long to arrive looks the same: a job that comes back is given twice the time.
    if (due === 'park') start.limit = HELD_UP
    else if (thread.held > 0) start.limit = HELD_UP * 2 ** Math.min(MAX_DOUBLINGS, Math.max(...thread.jobs().map(({ attempt }) => attempt)) - 1)
    if (ticks < start.limit) return
    this.#owner.onReturned(thread.revokeMovable())
    if (ticks < start.limit + this.#grace) return
    this.#log.warn({ thread: thread.index }, 'a worker thread was held up by code that a finished job left behind, and is replaced; the jobs that it had not started run on another')
    this.kill(thread)
  }

  /** The thread didn't start. */
  #failed (thread: Thread, error: Error): void {
    if (this.#boot !== undefined) {
      this.giveUp(error)
      return
    }
    if (this.#destroyed) return
    this.#log.error({ err: error, thread: thread.index }, 'a worker thread can\'t start')
    this.#restartLater(thread)
    const now = this.#clock.now()
    if (this.#starts.every(({ failures, failingSince }, index) => failures > 0 && now - failingSince >= UNABLE && this.threads[index]?.wasReady === false)) {
      this.#owner.onUnable(error, MAX_RESTART / 1_000)
    }
  }

  #restartLater (thread: Thread): void {
    const start = this.#starts[thread.index] as Start
    if (start.failures === 0) start.failingSince = this.#clock.now()
    const delay = Math.min(MAX_RESTART, RESTART * 2 ** start.failures++)
    // Holds the process open, since jobs may wait for it; it ends by itself, and the thread is started only if one does.
    start.timer = setTimeout(() => {
      start.timer = undefined
      this.#owner.onFree()
    }, delay)
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
