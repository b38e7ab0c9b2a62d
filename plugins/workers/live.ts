/**
 * The jobs whose callers wait. Not a Set: one that is added to and deleted from without end rehashes again and again, each dead table
 * points to the next (for iterators that may be at it), and once one is in V8's old generation all jobs since are kept until a full
 * collection: measured, a fifth of all that a short job costs.
 */
import type { Job } from './job.ts'

export class LiveJobs {
  readonly #jobs: Job[] = []

  add (job: Job): void {
    job.liveAt = this.#jobs.push(job) - 1
  }

  /** The last takes its place: the order is not kept. */
  delete (job: Job): void {
    const { liveAt } = job
    if (liveAt === -1) return
    job.liveAt = -1
    const last = this.#jobs.pop() as Job
    if (last === job) return
    this.#jobs[liveAt] = last
    last.liveAt = liveAt
  }

  /** In the order of their calls. */
  all (): Job[] {
    return this.#jobs.toSorted((a, b) => a.seq - b.seq)
  }
}
