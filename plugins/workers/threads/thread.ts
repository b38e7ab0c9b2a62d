/** One of the pool's threads: the thread of the operating system, the host that it runs, and the client that talks to the host. */
import { MessageChannel } from 'node:worker_threads'
import type { HostData } from '../../../workers/protocol.ts'
import type { LifeEvent, ThreadEvent } from './events.ts'
import { HostClient } from './host-client.ts'
import { outside } from './outside.ts'
import type { OsThread } from './piscina.ts'
import type { Transitions } from './transitions.ts'

/** What a thread has to do next, and may never do: to start, to begin a job that it was handed, to park, to be gone. */
export type Due = 'start' | 'job' | 'park' | 'end'

export class Thread {
  readonly index: number
  /** `ending`: told to park or to end. `stopped`: it has no host; the thread of the operating system may be parked. */
  state: 'stopped' | 'starting' | 'ready' | 'ending' = 'stopped'
  /** Why the pool has asked for the thread's end. */
  endedBy: 'parked' | 'killed' | undefined
  /** The client of the thread's host, or of the last host that it had; undefined if its start failed. */
  host: HostClient | undefined
  #os: OsThread | undefined
  readonly #transitions: Transitions
  readonly #emit: (thread: Thread, event: ThreadEvent | LifeEvent) => void

  constructor (index: number, transitions: Transitions, emit: (thread: Thread, event: ThreadEvent | LifeEvent) => void) {
    this.index = index
    this.#transitions = transitions
    this.#emit = emit
  }

  /** False while the last thread of the operating system is still there: there must not be two. */
  get isStartable (): boolean {
    return this.state === 'stopped' && this.#os?.alive !== false
  }

  /** A parked thread starts without an import. */
  get isParked (): boolean {
    return this.state === 'stopped' && this.#os?.alive === true
  }

  /** There is no thread of the operating system any more. */
  get isGone (): boolean {
    return this.#os === undefined
  }

  get due (): Due | undefined {
    if (this.state === 'stopped') return undefined
    if (this.#os?.alive === false) return 'end'
    if (this.state === 'starting') return 'start'
    if (this.endedBy === 'parked') return 'park'
    return this.host?.isDue === true ? 'job' : undefined
  }

  /**
   * Starts a host.
   * @param open makes a thread of the operating system, if none is parked
   * @throws what the operating system or Node says if there can't be a thread
   */
  start (open: (onGone: (error: Error) => void) => OsThread, data: Pick<HostData, 'url' | 'names' | 'preload'>): void {
    const { port1, port2 } = new MessageChannel()
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

  /** Ends the thread at once, whatever it does. Its jobs are taken back first, so that it can't start them in its last moments. */
  kill (): void {
    if (this.state === 'stopped' || this.endedBy === 'killed') return
    this.state = 'ending'
    this.endedBy = 'killed'
    this.host?.takeBack(true)
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
