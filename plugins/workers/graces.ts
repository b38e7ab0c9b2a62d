/** How long a job that was told to stop may go on: then its thread is ended, and what else it holds goes to the others. */
import type { Job } from './job.ts'
import type { Thread } from './thread.ts'

export class Graces {
  readonly #timers = new Map<Job, NodeJS.Timeout>()
  readonly #onReturned: (jobs: readonly Job[]) => void

  constructor (onReturned: (jobs: readonly Job[]) => void) {
    this.#onReturned = onReturned
  }

  get size (): number {
    return this.#timers.size
  }

  /** Given again, the new grace holds. */
  give (grace: number, thread: Thread, job: Job): void {
    if (grace === Infinity) return
    clearTimeout(this.#timers.get(job))
    this.#timers.set(job, setTimeout(() => {
      this.#timers.delete(job)
      // If it was this event loop that stood still, the job has ended long since, and its thread runs another.
      thread.poll()
      if (job.thread !== thread) return
      // First, so that it can't start another in its last moments.
      this.#onReturned(thread.revokeAll())
      thread.kill()
    }, grace).unref())
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
