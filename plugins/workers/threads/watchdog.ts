/**
 * Finds threads that make no progress: those that don't start, don't begin a job that they were handed, don't park, or don't end.
 *
 * The watchdog counts its own ticks and doesn't read a clock. When the event loop or the whole process stands still, a single tick
 * is late, and no thread is blamed for the time in which nobody could run.
 */
import { outside } from './outside.ts'
import type { Due, Thread } from './thread.ts'

/** The time between two ticks, in ms. */
export const TICK = 100

/** Called at each tick for a thread that has something due, with the number of ticks since its last progress. */
export type OnWaiting = (thread: Thread, due: Due, ticks: number) => void

interface Watched {
  due: Due | undefined
  progress: number
  ticks: number
}

export class Watchdog {
  readonly #threads: readonly Thread[]
  readonly #watched: readonly Watched[]
  readonly #run: (transition: () => void) => void
  readonly #onWaiting: OnWaiting
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor (threads: readonly Thread[], run: (transition: () => void) => void, onWaiting: OnWaiting) {
    this.#threads = threads
    this.#watched = threads.map(() => ({ due: undefined, progress: 0, ticks: 0 }))
    this.#run = run
    this.#onWaiting = onWaiting
  }

  /** A thread has something due from now on. */
  watch (): void {
    if (this.#timer !== undefined || this.#stopped) return
    // After the poll phase: if it was this event loop that stood still, the threads' messages are waiting there.
    this.#timer = outside(() => setTimeout(() => setImmediate(this.#run, this.#tick), TICK)).unref()
  }

  readonly #tick = (): void => {
    this.#timer = undefined
    if (this.#stopped) return
    let busy = false
    for (const [index, thread] of this.#threads.entries()) {
      if (thread.state !== 'stopped') busy = true
      if (thread.due !== undefined) thread.poll()
      const watched = this.#watched[index] as Watched
      const { due, progress } = thread
      const same = due === watched.due && progress === watched.progress
      watched.due = due
      watched.progress = progress
      watched.ticks = same ? watched.ticks + 1 : 0
      if (due !== undefined) this.#onWaiting(thread, due, watched.ticks)
    }
    if (busy) this.watch()
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }
}
