/**
 * One of the pool's threads: the thread of the operating system, the host that it runs, the client that talks to the host, and the watch on
 * whether the thread does what is due.
 */
import { MessageChannel } from 'node:worker_threads'
import type { FastifyBaseLogger } from 'fastify'
import type { HostData } from '../../../workers/protocol.ts'
import { logSafely } from '../../shared/log.ts'
import type { LifeEvent, ThreadEvent } from './events.ts'
import { HostClient } from './host-client.ts'
import { outside } from './outside.ts'
import type { OsThread } from './piscina.ts'
import type { Transitions } from './transitions.ts'

/**
 * The time between two looks at a thread, in ms. Times are counted in looks and not read from a clock: when the event loop or the whole process
 * stands still, a single look is late, and no thread is blamed for the time in which nobody could run.
 */
export const LOOK = 100

/** The time that a thread takes to end, in ms, if no native code holds it up. */
export const ENDING = 1_000

/** A thread that was handed a job begins it within a fraction of a millisecond. After so many looks without a beginning, it is held up. */
const HELD_UP = 5

/** A payload that takes long to arrive looks as if the thread were held up: each time a job comes back its time is doubled, at most this often. */
const MAX_DOUBLINGS = 3

export const NATIVE = 'a worker thread can\'t be ended before the native code that it runs has returned: it counts as one of maxThreads until then'

/** What a thread has to do next, and may never do: to start, to begin a job that it was handed, to park, to be gone. */
type Due = 'start' | 'job' | 'park' | 'end'

export class Thread {
  readonly index: number
  /** `ending`: told to park or to end. `stopped`: it has no host; the thread of the operating system may be parked. */
  state: 'stopped' | 'starting' | 'ready' | 'ending' = 'stopped'
  /** Why the pool has asked for the thread's end. */
  endedBy: 'parked' | 'killed' | undefined
  /** The client of the thread's host, or of the last host that it had; undefined if its start failed. */
  host: HostClient | undefined
  /** When the last start began, and whether the thread of the operating system was parked then, with all that it has loaded. */
  startedAt = 0
  wasParked = false
  /** How often in a row the thread died without having served a job, and since when. The kill of a thread that was ready isn't counted. */
  failures = 0
  failingSince = 0
  /** The thread is started again when this timer fires. */
  restart: NodeJS.Timeout | undefined
  /** What the thread said of the jobs that it can't load. */
  broken: Error | undefined
  /** The time that the thread has for what is due, in looks. */
  limit = 0
  #os: OsThread | undefined
  /** What was due at the last look, the thread's progress then, and the number of looks since either changed. */
  #due: Due | undefined
  #progress = 0
  #looks = 0
  readonly #transitions: Transitions
  readonly #log: FastifyBaseLogger
  /** The number of looks before a held-up thread is ended. `grace: Infinity` doesn't apply, because no job runs on the thread. */
  readonly #grace: number
  readonly #emit: (thread: Thread, event: ThreadEvent | LifeEvent) => void

  /** @param grace how long the thread may go on when it is asked to stop, in ms */
  constructor (
    index: number, grace: number, log: FastifyBaseLogger, transitions: Transitions, emit: (thread: Thread, event: ThreadEvent | LifeEvent) => void
  ) {
    this.index = index
    this.#grace = Math.ceil((grace === Infinity ? ENDING : grace) / LOOK)
    this.#log = log
    this.#transitions = transitions
    this.#emit = emit
  }

  /** False while the last thread of the operating system is still there, since there must not be two, and while a restart is planned. */
  get isStartable (): boolean {
    return this.state === 'stopped' && this.#os?.alive !== false && this.restart === undefined
  }

  /** A parked thread starts without an import. */
  get isParked (): boolean {
    return this.state === 'stopped' && this.#os?.alive === true
  }

  /** There is no thread of the operating system any more. */
  get isGone (): boolean {
    return this.#os === undefined
  }

  get #nextDue (): Due | undefined {
    if (this.state === 'stopped') return undefined
    if (this.#os?.alive === false) return 'end'
    if (this.state === 'starting') return 'start'
    if (this.endedBy === 'parked') return 'park'
    return this.host?.isDue === true ? 'job' : undefined
  }

  /**
   * Starts a host.
   * @param limit the time that a start with an import has, in looks
   * @param open makes a thread of the operating system, if none is parked
   * @throws what the operating system or Node says if there can't be a thread
   */
  start (now: number, limit: number, open: (onGone: (error: Error) => void) => OsThread, data: Pick<HostData, 'url' | 'names' | 'preload'>): void {
    const { port1, port2 } = new MessageChannel()
    this.startedAt = now
    this.wasParked = this.isParked
    this.limit = this.wasParked ? HELD_UP + this.#grace : limit
    this.broken = undefined
    this.host = undefined
    outside(() => {
      const host = new HostClient(port1, this.#transitions, (event) => this.#onEvent(event))
      const os = this.#os ?? open((error) => this.#transitions.run(() => this.#onGone(error)))
      try {
        os.run({ ...data, port: port2, slots: host.slots }, () => this.#transitions.run(() => { if (os.alive) this.#onStopped(undefined) }))
      } catch (error) {
        // `os` is dropped and not ended: piscina would reject the promise of a task that nobody got.
        port1.close()
        throw error
      }
      this.#os = os
      this.host = host
    })
    this.state = 'starting'
    this.endedBy = undefined
  }

  /**
   * Looks whether the thread does what is due.
   * @returns whether it has work, or has worked since the last look
   */
  look (isBooting: boolean): boolean {
    if (this.#nextDue !== undefined) this.host?.poll()
    const { host } = this
    const due = this.#nextDue
    const progress = host?.progress ?? 0
    const hasWorked = progress !== this.#progress
    this.#looks = due === this.#due && !hasWorked ? this.#looks + 1 : 0
    this.#due = due
    this.#progress = progress
    // While the app boots, the pool bounds the time.
    if (due !== undefined && !(due === 'start' && isBooting)) this.#onDue(due, this.#looks)
    return hasWorked || host?.isFree === false
  }

  #onDue (due: Due, looks: number): void {
    const { host } = this
    if (due === 'end') {
      if (looks === ENDING / LOOK) logSafely(this.#log, 'warn', { thread: this.index }, NATIVE)
      return
    }
    if (host === undefined) return
    if (looks === HELD_UP) {
      host.heldUp = true
      this.#emit(this, { type: 'vacancy' }) // Another thread may start for the jobs that wait.
    }
    if (due === 'start') {
      if (looks >= this.limit) this.kill()
      return
    }
    if (due === 'park') this.limit = HELD_UP
    else if (host.held > 0) this.limit = HELD_UP * 2 ** Math.min(MAX_DOUBLINGS, Math.max(...host.jobs().map(({ attempt }) => attempt)) - 1)
    if (looks < this.limit) return
    host.revokePrefetched()
    if (looks < this.limit + this.#grace) return
    logSafely(this.#log, 'warn', { thread: this.index },
      'a worker thread was held up by code that a finished job left behind, and is replaced; jobs that it had not started run on another')
    this.kill()
  }

  /** Ends the thread at once, whatever it does. Its jobs are taken back first, so that it can't start them in its last moments. */
  kill (): void {
    if (this.state === 'stopped' || this.endedBy === 'killed') return
    this.state = 'ending'
    this.endedBy = 'killed'
    this.host?.revokePrefetched(true)
    this.#os?.end()
  }

  /** Lets the host return, if it has nothing to do: a parked thread holds no process open, and keeps what it has loaded. */
  park (): void {
    if (this.state !== 'ready' || this.host?.held !== 0) return
    this.state = 'ending'
    this.endedBy = 'parked'
    this.host.send({ park: true })
  }

  /** Ends the thread, also a parked one, for good. */
  destroy (): void {
    clearTimeout(this.restart)
    this.park()
    this.#os?.end()
  }

  #onEvent (event: ThreadEvent | LifeEvent): void {
    if (event.type === 'ready' && this.state === 'starting') this.state = 'ready'
    if (event.type === 'overdue') this.kill()
    else this.#emit(this, event)
  }

  #onGone (error: Error): void {
    const wasParked = this.state === 'stopped'
    this.#os = undefined
    if (wasParked) this.#emit(this, { type: 'gone', error })
    else this.#onStopped(error)
  }

  #onStopped (error: Error | undefined): void {
    const { lost, returned } = this.host?.close(error, this.endedBy === undefined) ?? { lost: 0, returned: 0 }
    this.state = 'stopped'
    this.#emit(this, { type: 'stopped', error, lost, returned })
  }
}
