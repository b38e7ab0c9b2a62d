/**
 * Keeps the pool's threads alive: it starts them at boot, replaces those that die, and ends them. What happens to jobs
 * is passed on to the pool.
 */
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { fromWire, type WireError } from '../../../workers/wire-error.ts'
import { ClosingError, JobsInvalidError, OptionInvalidError } from '../../shared/errors.ts'
import { logSafely } from '../../shared/log.ts'
import { within } from '../../shared/within.ts'
import * as channels from '../channels.ts'
import type { ResolvedOptions } from '../options.ts'
import type { Registry } from '../registry.ts'
import type { PoolEvents } from './events.ts'
import { absolutePreloads, withoutRefused } from './exec-argv.ts'
import type { HostClient } from './host-client.ts'
import { checkHost, howItEnded, OsThread, type ThreadSettings } from './piscina.ts'
import { MAX_RESTART_DELAY_MS, UNABLE_AFTER_MS } from './restart.ts'
import { END_TIMEOUT_MS, CHECK_INTERVAL_MS, NATIVE_CODE_WARNING, Thread, type ThreadEvents } from './thread.ts'
import { outside, type Transitions } from './transitions.ts'

/** The share of Fastify's pluginTimeout that the boot may take: our error can name the jobs file, Fastify's can't. */
const BOOT_SHARE = 0.9

export class Threads implements ThreadEvents {
  /** Resolves when every thread has loaded the jobs; rejects if one can't. */
  readonly booted: Promise<void>
  readonly #threads: readonly Thread[]
  readonly #options: ResolvedOptions
  readonly #registry: Registry
  readonly #log: FastifyBaseLogger
  readonly #server: object
  readonly #transitions: Transitions
  readonly #events: PoolEvents
  #settings: ThreadSettings
  /** How long the last start took, in ms: what a job that ends its thread takes of the others' time. */
  startMs = 0
  /** The slowest start, in ms. */
  #slowest = 0
  #boot: { readonly resolve: () => void, readonly reject: (error: Error) => void } | undefined
  #destroyed = false
  #timer: NodeJS.Timeout | undefined
  /** Whether a check of the threads is due. */
  isWatching = false
  #unableTimer: NodeJS.Timeout | undefined
  /** Why the last thread that failed could not start. */
  #startError: Error | undefined
  #onGone = (): void => {}

  /** @param events receives what happens to jobs, and that there may be a thread for more of them */
  constructor (
    registry: Registry, options: ResolvedOptions, { log, server }: Pick<FastifyInstance, 'log' | 'server'>,
    transitions: Transitions,
    events: PoolEvents
  ) {
    checkHost()
    const { maxThreads, resourceLimits, env, grace } = options
    this.#options = options
    this.#registry = registry
    this.#log = log
    this.#server = server
    this.#transitions = transitions
    this.#events = events
    const given = options.execArgv ?? process.execArgv
    const absolute = absolutePreloads(given, process.cwd())
    const execArgv = absolute.every((argument, index) => argument === given[index]) ? options.execArgv : absolute
    this.#settings = {
      resourceLimits,
      ...(execArgv !== undefined && { execArgv }),
      ...(env !== undefined && { env })
    }
    this.booted = new Promise((resolve, reject) => { this.#boot = { resolve, reject } })
    // If the app never boots, nobody awaits the promise.
    this.booted.catch(() => {})
    this.#threads = Array.from({ length: maxThreads },
      (_, index) => new Thread(index, grace, log, transitions, events, this))
    for (const thread of this.#threads) this.#start(thread, true)
  }

  /** The hosts that take jobs now. */
  get hosts (): HostClient[] {
    const hosts: HostClient[] = []
    for (const { state, host } of this.#threads) if (state === 'ready' && host !== undefined) hosts.push(host)
    return hosts
  }

  /** Every host that may have a job. */
  get allHosts (): HostClient[] {
    return this.#threads.flatMap(({ host }) => host ?? [])
  }

  /**
   * Resolves when every thread has loaded the jobs.
   * @param pluginTimeout Fastify's option, in ms; 0 for no limit
   * @throws JobsInvalidError if a thread can't load the jobs, or not in time
   */
  async boot (pluginTimeout = 10_000): Promise<void> {
    const limit = pluginTimeout === 0 ? Infinity : pluginTimeout * BOOT_SHARE
    if (!await within(limit, this.booted)) {
      const { url } = this.#registry
      const what =
        `The worker threads have not loaded ${url} within ${limit} ms: if it takes that long, raise Fastify's pluginTimeout`
      this.#giveUpBoot(new JobsInvalidError(what))
    }
    await this.booted
  }

  /** Ends the boot with an error, if it has not ended. Nothing may be left that holds the process open. */
  #giveUpBoot (error: Error): void {
    if (this.#boot === undefined) return
    this.#boot.reject(error)
    this.#boot = undefined
    void this.destroy()
  }

  /** Jobs that still run crash. Doesn't wait for a thread in native code, which ends when that returns. */
  async destroy (): Promise<void> {
    this.#destroyed = true
    clearTimeout(this.#timer)
    clearTimeout(this.#unableTimer)
    this.#boot?.reject(new ClosingError(`The pool "${this.#options.decorator}"`))
    this.#boot = undefined
    for (const thread of this.#threads) thread.end('closed')
    const gone = new Promise<void>((resolve) => {
      this.#onGone = () => { if (this.#threads.every(({ state }) => state === 'ended')) resolve() }
      this.#onGone()
    })
    if (!await within(END_TIMEOUT_MS, gone)) logSafely(this.#log, 'warn', {}, NATIVE_CODE_WARNING)
  }

  #start (thread: Thread, preload: boolean): void {
    if (this.#destroyed) return
    const { url, names } = this.#registry
    try {
      thread.start(performance.now(), thread.restarts.startLimit(this.#slowest),
        (data, onGone) => new OsThread(this.#settings, data, onGone), { url, names, preload })
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ERR_WORKER_INVALID_EXEC_ARGV') {
        // Options of the whole process, such as V8's: they hold in its threads anyway.
        if (this.#options.execArgv === undefined && this.#settings.execArgv !== undefined) {
          this.#settings = withoutRefused(this.#settings, error as Error)
          this.#start(thread, preload)
          return
        }
        throw new OptionInvalidError('workers.execArgv', 'Node options that a worker thread takes',
          (error as Error).message)
      }
      // The operating system refuses a thread when there are too many, or too little memory. Both may pass.
      const what = `A worker thread can't be started: ${(error as Error).message}`
      this.#onFailed(thread, new JobsInvalidError(what, { cause: error }))
      return
    }
    this.watch()
  }

  broken (thread: Thread, wire: WireError, what: string): void {
    const cause = fromWire(wire) as Error
    const error = new JobsInvalidError(what, { cause: cause.cause ?? cause })
    if (this.#boot !== undefined) return this.#giveUpBoot(error)
    thread.loadError = error
    // A module that failed once fails again in the same thread, whatever its file holds by then.
    thread.end('broken')
  }

  ready (thread: Thread): void {
    const durationMs = performance.now() - thread.startedAt
    this.startMs = durationMs
    this.#slowest = Math.max(this.#slowest, durationMs)
    if (channels.threadStarted.hasSubscribers) channels.threadStarted.publish({ ...this.#identity(thread), durationMs })
    if (this.#boot !== undefined && this.#threads.every(({ host }) => host?.isReady === true)) {
      this.#boot.resolve()
      this.#boot = undefined
    }
    this.#events.vacancy()
  }

  ended (thread: Thread, error: Error, crashed: number, returned: number): void {
    const why = thread.endedBy ?? 'crashed'
    if (channels.threadEnded.hasSubscribers) channels.threadEnded.publish({ ...this.#identity(thread), why, error })
    if (this.#destroyed) return this.#onGone()
    if (thread.host?.isReady !== true) return this.#onNeverReady(thread, error)
    const served = thread.host.outcomes > 0
    if (served) thread.restarts.served()
    const isIdleDeath = why === 'crashed' && crashed === 0
    if (isIdleDeath) logSafely(this.#log, 'error', { err: error }, 'a worker thread died while it ran no job')
    // An idle thread may die again and again. If it has served or was given a job, jobs cause its restarts, and jobs
    // are bounded: it restarts at once.
    if (isIdleDeath && !served && returned === 0) this.#restartLater(thread)
    else this.#start(thread, false)
  }

  #onNeverReady (thread: Thread, error: Error): void {
    const { url } = this.#registry
    this.#onFailed(thread, thread.loadError ?? (thread.endedBy === 'slow'
      ? new JobsInvalidError(`A worker thread has not loaded ${url} within ${thread.limit * CHECK_INTERVAL_MS} ms`)
      : new JobsInvalidError(`A worker thread ended while it loaded ${url}: ${howItEnded(error)}`, { cause: error })))
  }

  /** The thread didn't start. */
  #onFailed (thread: Thread, error: Error): void {
    if (this.#boot !== undefined) return this.#giveUpBoot(error)
    if (this.#destroyed) return
    logSafely(this.#log, 'error', { err: error, thread: thread.index }, 'a worker thread can\'t start')
    this.#restartLater(thread)
    this.#startError = error
    this.#unableTimer ??= this.#refuseLater(this.#untilUnable())
  }

  /**
   * Returns the time, in ms, until no thread has started for so long that jobs needn't wait; `Infinity` while there is
   * one that may serve them.
   */
  #untilUnable (): number {
    const now = performance.now()
    return Math.max(...this.#threads.map(({ host, restarts }) => host?.isReady === true
      ? Infinity
      : restarts.untilUnable(now)))
  }

  /**
   * Refuses what waits after `ms`, and again and again until a thread has started: a start may take long, and the next
   * one comes later.
   */
  #refuseLater (ms: number): NodeJS.Timeout | undefined {
    if (ms === Infinity) return undefined
    return setTimeout(this.#transitions.run, ms, () => {
      const left = this.#untilUnable()
      this.#unableTimer = this.#refuseLater(left === 0 ? UNABLE_AFTER_MS : left)
      if (left === 0) this.#events.unable(this.#startError!, MAX_RESTART_DELAY_MS / 1_000)
    }).unref()
  }

  /** The timer holds the process open, because jobs may wait for the thread. */
  #restartLater (thread: Thread): void {
    thread.restart = setTimeout(this.#transitions.run, thread.restarts.failed(thread.startedAt),
      () => this.#start(thread, false))
  }

  /** Checks the threads from now on, until all are idle. Call this method when jobs were handed to threads. */
  watch (): void {
    if (this.isWatching || this.#destroyed) return
    this.isWatching = true
    // After the poll phase: if it was this event loop that stood still, the threads' messages are waiting there.
    this.#timer = outside(() =>
      setTimeout(() => setImmediate(this.#transitions.run, () => this.#check()), CHECK_INTERVAL_MS)).unref()
  }

  #check (): void {
    this.isWatching = false
    if (this.#destroyed) return
    for (const thread of this.#threads) thread.check(this.#boot !== undefined)
    if (this.#threads.some(({ isIdle }) => !isIdle)) this.watch()
  }

  #identity (thread: Thread): channels.ThreadIdentity {
    return { server: this.#server, pool: this.#options.decorator, thread: thread.index }
  }
}
