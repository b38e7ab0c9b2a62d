/**
 * Keeps the pool's threads alive: boot, replacement, parking when idle, end. Their jobs are the pool's: it passes on what happens to them.
 */
import type { FastifyBaseLogger } from 'fastify'
import { fromWire } from '../../../workers/wire-error.ts'
import type { Clock } from '../../shared/clock.ts'
import { ClosingError, JobsInvalidError, OptionInvalidError } from '../../shared/errors.ts'
import { logSafely } from '../../shared/log.ts'
import { within } from '../../shared/within.ts'
import * as channels from '../channels.ts'
import type { ResolvedOptions } from '../options.ts'
import type { Registry } from '../registry.ts'
import { howItEnded } from './ending.ts'
import type { LifeEvent, ThreadEvent } from './events.ts'
import { absolutePreloads, withoutRefused } from './exec-argv.ts'
import type { HostClient } from './host-client.ts'
import { outside } from './outside.ts'
import { checkHost, OsThread, type ThreadSettings } from './piscina.ts'
import { Thread, type Due } from './thread.ts'
import type { Transitions } from './transitions.ts'

/**
 * The time between two looks at the threads, in ms. Times below are counted in ticks and not read from a clock: when the event loop or the
 * whole process stands still, a single tick is late, and no thread is blamed for the time in which nobody could run.
 */
const TICK = 100

/** After this many ticks without a job the threads park. */
const IDLE = 3

/** A thread that was handed a job begins it within a fraction of a millisecond. After so many ticks without a beginning, it is held up. */
const HELD_UP = 5

/**
 * How often the time that a thread has is doubled: a machine that is slow for a while must not end every thread just before it is ready.
 */
const MAX_DOUBLINGS = 3

/**
 * The delay before a thread that died without having done anything is started again, in ms, doubled each time: at once, it would only burn
 * a CPU.
 */
const RESTART = 100
const MAX_RESTART = 5_000

/** When no thread has started for this long, in ms, the jobs that wait are rejected at each further failure. */
const UNABLE = 5_000

/** The time that a thread takes to end, in ms, if no native code holds it up. */
const ENDING = 1_000

const NATIVE = 'a worker thread can\'t be ended before the native code that it runs has returned: it counts as one of maxThreads until then'

/** What is known of a thread beside its state. */
interface Health {
  startedAt: number
  /** How often in a row the thread died without having done anything, and since when. */
  failures: number
  failingSince: number
  /** The time that the thread has for what is due, in ticks. */
  limit: number
  /** The thread was parked before its start, with all that it has loaded. */
  wasParked: boolean
  /** What the thread said of the jobs that it can't load. */
  broken: Error | undefined
  restart: NodeJS.Timeout | undefined
  /** What the thread had to do at the last tick, its progress then, and the ticks since both have changed. */
  due: Due | undefined
  progress: number
  ticks: number
}

export class Threads {
  /** Resolves when every thread has loaded the jobs; rejects if one can't. */
  readonly booted: Promise<void>
  readonly count: number
  readonly #threads: ReadonlyArray<{ readonly thread: Thread, readonly health: Health }>
  readonly #options: ResolvedOptions
  readonly #registry: Registry
  readonly #clock: Clock
  readonly #log: FastifyBaseLogger
  readonly #transitions: Transitions
  readonly #emit: (event: ThreadEvent) => void
  #settings: ThreadSettings
  /** Ticks that a held-up thread is given before it is ended. An endless grace is for jobs, and no job runs there. */
  readonly #grace: number
  /** The slowest start, in ms. */
  #slowest = 0
  #boot: { readonly resolve: () => void, readonly reject: (error: Error) => void } | undefined
  #destroyed = false
  #timer: NodeJS.Timeout | undefined
  #idleTicks = 0
  #onGone = (): void => {}

  /** @param emit what happens to jobs, and when there may be a thread for more of them */
  constructor (
    registry: Registry, options: ResolvedOptions, clock: Clock, log: FastifyBaseLogger, transitions: Transitions, emit: (event: ThreadEvent) => void
  ) {
    checkHost()
    const { maxThreads, resourceLimits, env, grace } = options
    this.count = maxThreads
    this.#options = options
    this.#registry = registry
    this.#clock = clock
    this.#log = log
    this.#transitions = transitions
    this.#emit = emit
    this.#grace = Math.ceil((grace === Infinity ? ENDING : grace) / TICK)
    const given = options.execArgv ?? process.execArgv
    const absolute = absolutePreloads(given, process.cwd())
    const execArgv = absolute.every((argument, index) => argument === given[index]) ? options.execArgv : absolute
    this.#settings = {
      ...(resourceLimits !== undefined && { resourceLimits }),
      ...(execArgv !== undefined && { execArgv }),
      ...(env !== undefined && { env })
    }
    this.booted = new Promise((resolve, reject) => { this.#boot = { resolve, reject } })
    // Whoever awaits it gets the rejection; nobody does if the app never boots.
    this.booted.catch(() => {})
    this.#threads = Array.from({ length: maxThreads }, (_, index) => {
      const health: Health = {
        startedAt: 0, failures: 0, failingSince: 0, limit: 0, wasParked: false, broken: undefined, restart: undefined, due: undefined, progress: 0, ticks: 0
      }
      return { thread: new Thread(index, transitions, (thread, event) => this.#onEvent(thread, health, event)), health }
    })
    for (const { thread, health } of this.#threads) this.#start(thread, health, true)
  }

  /** The hosts that take jobs now. */
  get hosts (): HostClient[] {
    const hosts: HostClient[] = []
    for (const { thread: { state, host } } of this.#threads) if (state === 'ready' && host !== undefined) hosts.push(host)
    return hosts
  }

  /** Every host that may have a job. */
  get allHosts (): HostClient[] {
    return this.#threads.flatMap(({ thread: { host } }) => host ?? [])
  }

  /** Starts as many stopped threads as there are jobs waiting. */
  wake (waiting: number): void {
    if (this.#destroyed || waiting === 0) return
    let wanted = waiting
    for (const { thread: { state, host } } of this.#threads) if (state === 'starting' && host?.heldUp !== true) wanted--
    for (const { thread, health } of this.#threads) {
      if (wanted <= 0) return
      if (!thread.isStartable || health.restart !== undefined) continue
      this.#start(thread, health, false)
      wanted--
    }
  }

  /** Ends the boot with an error, if it has not ended. Nothing may be left that holds the process open. */
  giveUpBoot (error: Error): void {
    if (this.#boot === undefined) return
    this.#boot.reject(error)
    this.#boot = undefined
    void this.destroy()
  }

  /** Jobs that still run are lost. Doesn't wait for a thread in native code, which ends when that returns. */
  async destroy (): Promise<void> {
    this.#destroyed = true
    clearTimeout(this.#timer)
    this.#boot?.reject(new ClosingError(`The pool "${this.#options.decorator}"`))
    this.#boot = undefined
    for (const { thread, health } of this.#threads) {
      clearTimeout(health.restart)
      thread.park()
      thread.destroy()
    }
    const gone = new Promise<void>((resolve) => {
      this.#onGone = () => { if (this.#threads.every(({ thread }) => thread.isGone)) resolve() }
      this.#onGone()
    })
    if (!await within(ENDING, gone)) logSafely(this.#log, 'warn', {}, NATIVE)
  }

  #start (thread: Thread, health: Health, preload: boolean): void {
    if (this.#destroyed) return
    health.startedAt = this.#clock.now()
    health.wasParked = thread.isParked
    health.broken = undefined
    health.limit = health.wasParked ? HELD_UP + this.#grace : this.#startLimit(health.failures)
    const { url, names } = this.#registry
    try {
      thread.start((onGone) => new OsThread(this.#settings, onGone), { url, names, preload })
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ERR_WORKER_INVALID_EXEC_ARGV') {
        // Options of the whole process, such as V8's: they hold in its threads anyway.
        if (this.#options.execArgv === undefined && this.#settings.execArgv !== undefined) {
          this.#settings = withoutRefused(this.#settings, error as Error)
          this.#start(thread, health, preload)
          return
        }
        throw new OptionInvalidError('workers.execArgv', 'Node options that a worker thread takes', (error as Error).message)
      }
      // The operating system refuses a thread when there are too many, or too little memory. Both may pass.
      const what = `A worker thread can't be started: ${(error as Error).message}`
      this.#onFailed(thread, health, new JobsInvalidError(what, { cause: error }))
      return
    }
    this.#watch()
  }

  /** The time that a replacement has to start, in ticks: its imports compete with the load. */
  #startLimit (failures: number): number {
    const ms = Math.max(2_000, Math.min(10 * this.#slowest, 10_000), 2 * this.#slowest)
    return Math.ceil(ms / TICK) * 2 ** Math.min(failures, MAX_DOUBLINGS)
  }

  #onEvent (thread: Thread, health: Health, event: ThreadEvent | LifeEvent): void {
    switch (event.type) {
      case 'ready': return this.#onReady(thread, health)
      case 'broken': {
        const cause = fromWire(event.error) as Error
        const error = new JobsInvalidError(event.what, { cause: cause.cause ?? cause })
        if (this.#boot !== undefined) return this.giveUpBoot(error)
        health.broken = error
        // A module that failed once fails again in the same thread, whatever its file holds by then.
        return thread.kill()
      }
      case 'stopped': return this.#onStopped(thread, health, event)
      case 'gone':
        this.#logDeath(event.error)
        return this.#destroyed ? this.#onGone() : this.#emit({ type: 'room' })
      case 'overdue': return
      default: this.#emit(event)
    }
  }

  #onReady (thread: Thread, { startedAt, wasParked }: Health): void {
    const durationMs = this.#clock.now() - startedAt
    if (!wasParked) this.#slowest = Math.max(this.#slowest, durationMs)
    if (channels.threadStarted.hasSubscribers) channels.threadStarted.publish({ ...this.#identity(thread), durationMs })
    if (this.#boot !== undefined && this.#threads.every(({ thread: { host } }) => host?.isReady === true)) {
      this.#boot.resolve()
      this.#boot = undefined
    }
    this.#emit({ type: 'room' })
  }

  #onStopped (thread: Thread, health: Health, { error, lost, returned }: Extract<LifeEvent, { type: 'stopped' }>): void {
    const why = thread.endedBy ?? 'crashed'
    if (channels.threadEnded.hasSubscribers) channels.threadEnded.publish({ ...this.#identity(thread), why, error })
    if (this.#destroyed) return this.#onGone()
    const served = thread.host !== undefined && thread.host.ended > 0
    if (served) health.failures = 0
    if (thread.host?.isReady !== true) this.#onNeverReady(thread, health, error)
    else if (why === 'crashed' && lost === 0) {
      this.#logDeath(error)
      // The thread may die again and again. Once it has done something, or was to, it is jobs that drive that, and they are bounded.
      if (served || returned > 0) this.#start(thread, health, false)
      else this.#restartLater(health)
    } else if (why !== 'parked') this.#start(thread, health, false) // A parked thread starts when there is a job for it.
    this.#emit({ type: 'room' })
  }

  #onNeverReady (thread: Thread, health: Health, error: Error | undefined): void {
    // A finished job had left behind what held a parked thread up, or ended it.
    if (health.wasParked && health.broken === undefined) return this.#start(thread, health, false)
    const { url } = this.#registry
    this.#onFailed(thread, health, health.broken ?? (thread.endedBy === 'killed'
      ? new JobsInvalidError(`A worker thread has not loaded ${url} within ${health.limit * TICK} ms`)
      : new JobsInvalidError(`A worker thread ended while it loaded ${url}: ${howItEnded(error)}`, { cause: error })))
  }

  /** The thread didn't start. */
  #onFailed (thread: Thread, health: Health, error: Error): void {
    if (this.#boot !== undefined) return this.giveUpBoot(error)
    if (this.#destroyed) return
    logSafely(this.#log, 'error', { err: error, thread: thread.index }, 'a worker thread can\'t start')
    this.#restartLater(health)
    const now = this.#clock.now()
    const isUnable = this.#threads.every(({ thread: { host }, health: { failures, failingSince } }) => {
      return failures > 0 && now - failingSince >= UNABLE && host?.isReady !== true
    })
    if (isUnable) this.#emit({ type: 'unable', error, retryAfter: MAX_RESTART / 1_000 })
  }

  #restartLater (health: Health): void {
    if (health.failures === 0) health.failingSince = this.#clock.now()
    const delay = Math.min(MAX_RESTART, RESTART * 2 ** health.failures++)
    // Holds the process open, since jobs may wait for the thread; it ends by itself, and the thread is started only if one does.
    health.restart = setTimeout(() => {
      health.restart = undefined
      this.#emit({ type: 'room' })
    }, delay)
  }

  /** Looks at the threads from now on, until all have stopped. */
  #watch (): void {
    if (this.#timer !== undefined || this.#destroyed) return
    // After the poll phase: if it was this event loop that stood still, the threads' messages are waiting there.
    this.#timer = outside(() => setTimeout(() => setImmediate(this.#transitions.run, () => this.#tick()), TICK)).unref()
  }

  #tick (): void {
    this.#timer = undefined
    if (this.#destroyed) return
    let isIdle = this.#boot === undefined
    for (const { thread, health } of this.#threads) {
      if (thread.due !== undefined) thread.host?.poll()
      const { due, host } = thread
      const progress = host?.progress ?? 0
      if (progress !== health.progress || host?.isFree === false) isIdle = false
      health.ticks = due === health.due && progress === health.progress ? health.ticks + 1 : 0
      health.due = due
      health.progress = progress
      if (due !== undefined) this.#onDue(thread, health, due)
    }
    this.#idleTicks = isIdle ? this.#idleTicks + 1 : 0
    if (this.#idleTicks >= IDLE) for (const { thread } of this.#threads) thread.park()
    if (this.#threads.some(({ thread: { state } }) => state !== 'stopped')) this.#watch()
  }

  /** Something is due of a thread, for `health.ticks` without progress. */
  #onDue (thread: Thread, health: Health, due: Due): void {
    const { host } = thread
    const { ticks } = health
    if (due === 'end') {
      if (ticks === ENDING / TICK) logSafely(this.#log, 'warn', { thread: thread.index }, NATIVE)
      return
    }
    // While the app boots, the pool bounds the time.
    if (host === undefined || (due === 'start' && this.#boot !== undefined)) return
    if (ticks === HELD_UP) {
      host.heldUp = true
      this.#emit({ type: 'room' }) // Another thread may start for the jobs that wait.
    }
    if (due === 'start') {
      if (ticks >= health.limit) thread.kill()
      return
    }
    // A payload that takes long to arrive looks the same: a job that comes back is given twice the time.
    if (due === 'park') health.limit = HELD_UP
    else if (host.held > 0) {
      const attempts = Math.max(...host.jobs().map(({ attempt }) => attempt))
      health.limit = HELD_UP * 2 ** Math.min(MAX_DOUBLINGS, attempts - 1)
    }
    if (ticks < health.limit) return
    host.takeBack()
    if (ticks < health.limit + this.#grace) return
    logSafely(this.#log, 'warn', { thread: thread.index },
      'a worker thread was held up by code that a finished job left behind, and is replaced; jobs that it had not started run on another')
    thread.kill()
  }

  #logDeath (err: Error | undefined): void {
    if (!this.#destroyed) logSafely(this.#log, 'error', { err }, 'a worker thread died while it ran no job')
  }

  #identity (thread: Thread): channels.ThreadIdentity {
    return { pool: this.#options.decorator, thread: thread.index }
  }
}
