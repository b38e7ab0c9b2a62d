/**
 * One of the pool's threads: the thread of the operating system, the client that talks to its host, and the watch on
 * whether the thread does what is due.
 */
import { MessageChannel } from 'node:worker_threads'
import type { FastifyBaseLogger } from 'fastify'
import type { HostData } from '../../../workers/protocol.ts'
import { createSlots } from '../../../workers/slots.ts'
import { logSafely } from '../../shared/log.ts'
import type { ThreadEnd } from '../channels.ts'
import type { WireError } from '../../../workers/wire-error.ts'
import type { HostEvents, JobEvents } from './events.ts'
import { HostClient, MAX_HELD } from './host-client.ts'
import type { OsThread } from './piscina.ts'
import { RestartPolicy } from './restart.ts'
import { outside, type Transitions } from './transitions.ts'

/**
 * The time between two checks of a thread, in ms. Times are counted in checks and not read from a clock: when the event
 * loop or the whole process stands still, a single check is late, and no thread is blamed for the time in which nobody
 * could run.
 */
export const CHECK_INTERVAL_MS = 100

/** The time that a thread takes to end, in ms, if no native code holds it up. */
export const END_TIMEOUT_MS = 1_000

/**
 * A thread that was handed a job begins it within a fraction of a millisecond. If the job has not begun after this many
 * checks, the thread is held up.
 */
const HELD_UP_CHECKS = 5

/**
 * The time limit doubles with each handover of a job, at most this many times, because a payload that arrives slowly
 * checks like a held-up thread.
 */
const MAX_DOUBLINGS = 3

export const NATIVE_CODE_WARNING =
  'a worker thread can\'t be ended before the native code that it runs has returned: it counts as one of maxThreads until then'

/**
 * Due is the next step that a thread must take, and that it may fail to take: to start, to begin a job that it was
 * handed, to be gone.
 */
type Due = 'start' | 'job' | 'end'

/** What happens to a thread. */
export interface ThreadEvents {
  ready (thread: Thread): void
  /** The thread can't load the jobs. */
  broken (thread: Thread, error: WireError, what: string): void
  /** The thread is gone; with the numbers of its jobs that have crashed with it, and that were returned. */
  ended (thread: Thread, error: Error, crashed: number, returned: number): void
}

export class Thread implements HostEvents {
  readonly index: number
  readonly restarts = new RestartPolicy()
  /** `ending`: told to end. `ended`: there is no thread of the operating system. */
  state: 'ended' | 'starting' | 'ready' | 'ending' = 'ended'
  /** Why the pool has asked for the thread's end. */
  endedBy: Exclude<ThreadEnd, 'crashed'> | undefined
  /** The client of the thread's host, or of the last host that it had; undefined if its start failed. */
  host: HostClient | undefined
  /** When the last start began. */
  startedAt = 0
  /** The thread is started again when this timer fires. */
  restart: NodeJS.Timeout | undefined
  /** Why the thread can't load the jobs. */
  loadError: Error | undefined
  /** The number of checks within which the thread must take its next step. */
  limit = 0
  #os: OsThread | undefined
  /**
   * What was due at the last check, the number of the host's outcomes then, and the number of checks since either
   * changed.
   */
  #due: Due | undefined
  #outcomes = 0
  #checks = 0
  readonly #transitions: Transitions
  readonly #log: FastifyBaseLogger
  /**
   * The number of checks before a held-up thread is ended. `grace: Infinity` doesn't apply, because no job runs on the
   * thread.
   */
  readonly #grace: number
  readonly #jobEvents: JobEvents
  readonly #events: ThreadEvents

  /** @param grace how long the thread may go on when it is asked to stop, in ms */
  constructor (index: number, grace: number, log: FastifyBaseLogger, transitions: Transitions, jobEvents: JobEvents,
    events: ThreadEvents) {
    this.index = index
    this.#grace = Math.ceil((grace === Infinity ? END_TIMEOUT_MS : grace) / CHECK_INTERVAL_MS)
    this.#log = log
    this.#transitions = transitions
    this.#jobEvents = jobEvents
    this.#events = events
  }

  /** Whether there is nothing to check: the thread has no job, and nothing is due. */
  get isIdle (): boolean {
    return this.state === 'ended' || (this.#nextDue === undefined && this.host?.isFree === true)
  }

  get #nextDue (): Due | undefined {
    if (this.state === 'ended') return undefined
    if (this.#os?.alive === false) return 'end'
    if (this.state === 'starting') return 'start'
    return this.host?.isDue === true ? 'job' : undefined
  }

  /**
   * Starts the thread, and the host in it.
   * @param limit how long the start may take, in ms
   * @param open makes a thread of the operating system
   * @throws what the operating system or Node says if there can't be a thread
   */
  start (now: number, limit: number, open: (data: HostData, onGone: (error: Error) => void) => OsThread,
    data: Pick<HostData, 'url' | 'names' | 'preload'>): void {
    const { port1, port2 } = new MessageChannel()
    this.startedAt = now
    this.limit = Math.ceil(limit / CHECK_INTERVAL_MS)
    this.loadError = undefined
    this.host = undefined
    outside(() => {
      const slots = createSlots(MAX_HELD)
      try {
        this.#os = open({ ...data, port: port2, slots }, (error) => this.#transitions.run(() => this.#onGone(error)))
      } catch (error) {
        port1.close()
        throw error
      }
      this.host = new HostClient(port1, slots, this.#os, this.#transitions, this.#jobEvents, this)
    })
    this.state = 'starting'
    this.endedBy = undefined
  }

  /** Checks whether the thread does what is due. A thread that is idle no longer holds the process open. */
  check (isBooting: boolean): void {
    if (this.#nextDue !== undefined) this.host?.poll()
    const due = this.#nextDue
    const outcomes = this.host?.outcomes ?? 0
    this.#checks = due === this.#due && outcomes === this.#outcomes ? this.#checks + 1 : 0
    this.#due = due
    this.#outcomes = outcomes
    // While the app boots, the pool bounds the time.
    if (due !== undefined && !(due === 'start' && isBooting)) this.#onDue(due, this.#checks)
    else if (this.isIdle) this.host?.release()
  }

  #onDue (due: Due, checks: number): void {
    const { host } = this
    if (due === 'end') {
      if (checks === Math.ceil(END_TIMEOUT_MS / CHECK_INTERVAL_MS)) {
        logSafely(this.#log, 'warn', { thread: this.index },
          NATIVE_CODE_WARNING)
      }
    } else if (due === 'start') {
      if (checks >= this.limit) this.end('slow')
    } else if (host !== undefined) {
      if (host.held > 0) {
        this.limit = HELD_UP_CHECKS * 2 ** Math.min(MAX_DOUBLINGS,
          Math.max(...host.jobs().map(({ attempt }) => attempt)) - 1)
      }
      if (checks < this.limit) return
      host.revokePrefetched()
      if (checks < this.limit + this.#grace) return
      logSafely(this.#log, 'warn', { thread: this.index },
        'a worker thread was held up by code that a finished job left behind, and is replaced; jobs that it had not started run on another')
      this.end('held-up')
    }
  }

  /**
   * Ends the thread at once, whatever it does. Jobs that the thread has not started are revoked first, so that it can't
   * start them in its last moments.
   */
  end (why: Exclude<ThreadEnd, 'crashed'>): void {
    clearTimeout(this.restart)
    if (this.state === 'ended' || this.endedBy !== undefined) return
    this.state = 'ending'
    this.endedBy = why
    this.host?.revokePrefetched(true)
    this.#os?.end()
  }

  ready (): void {
    if (this.state === 'starting') this.state = 'ready'
    this.#events.ready(this)
  }

  broken (error: WireError, what: string): void {
    this.#events.broken(this, error, what)
  }

  overdue (): void {
    this.end('overdue')
  }

  #onGone (error: Error): void {
    const { crashed, returned } = this.host?.close(error, this.endedBy === undefined) ?? { crashed: 0, returned: 0 }
    this.#os = undefined
    this.state = 'ended'
    this.#events.ended(this, error, crashed, returned)
  }
}
