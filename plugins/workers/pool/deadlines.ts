/**
 * Arms timers for deadlines that are near. Most jobs end long before their deadline, and a timer for each job would be a tenth of the cost of a
 * short job. So jobs whose deadline is far get no timer, and are looked through from time to time.
 */
import type { DenseSet } from '../../shared/collections/dense-set.ts'
import type { Job } from '../job.ts'
import { outside } from '../threads/transitions.ts'

/** The time between two looks through the jobs, in ms. */
const LOOK = 500

export class Deadlines {
  readonly #live: DenseSet<Job>
  readonly #now: () => number
  #timer: NodeJS.Timeout | undefined

  /** @param live the jobs whose callers wait */
  constructor (live: DenseSet<Job>, now: () => number) {
    this.#live = live
    this.#now = now
  }

  /** Watches the deadline of a job. */
  watch (job: Job, now: number): void {
    if (job.deadline - now <= 2 * LOOK) job.arm(now)
    else if (this.#timer === undefined && job.deadline !== Infinity) this.#timer = outside(() => setTimeout(this.#look, LOOK)).unref()
  }

  readonly #look = (): void => {
    this.#timer = undefined
    const now = this.#now()
    for (const job of this.#live.all()) if (!job.settled) this.watch(job, now)
  }

  stop (): void {
    clearTimeout(this.#timer)
  }
}
