/** Kill timers: a job that was told to stop may go on for its grace, and then its thread is ended. */
import type { Job } from '../pool/job.ts'
import type { Thread } from './thread.ts'

export class Graces {
  readonly #timers = new Map<Job, NodeJS.Timeout>()
  readonly #kill: (thread: Thread) => void
  readonly #run: (transition: () => void) => void

  constructor (run: (transition: () => void) => void, kill: (thread: Thread) => void) {
    this.#run = run
    this.#kill = kill
  }

  get size (): number {
    return this.#timers.size
  }

  /** Given again, the new grace holds. */
  give (grace: number, thread: Thread, job: Job): void {
    if (grace === Infinity) return
    clearTimeout(this.#timers.get(job))
    this.#timers.set(job, setTimeout(this.#run, grace, () => {
      this.#timers.delete(job)
      // If it was this event loop that stood still, the job has ended long since, and its thread runs another.
      thread.poll()
      if (job.thread === thread) this.#kill(thread)
    }).unref())
  }

  /** The job has ended. */
  end (job: Job): void {
    if (this.#timers.size === 0) return
    clearTimeout(this.#timers.get(job))
    this.#timers.delete(job)
  }

  clear (): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}
