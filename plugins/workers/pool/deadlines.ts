/**
 * A timer only for jobs whose deadline is near. Most end long before theirs, and arming and clearing a timer for each would cost a
 * short job a tenth of all it costs; the others are looked through now and then.
 */
import type { LiveList } from '../../shared/dense-set.ts'
import type { Job } from '../job.ts'
import { outside } from '../threads/outside.ts'

/** How often, in ms, the jobs are looked through. */
const LOOK = 500

export class Deadlines {
  readonly #live: LiveList<Job>
  readonly #now: () => number
  #timer: NodeJS.Timeout | undefined

  /** @param live the jobs whose callers wait */
  constructor (live: LiveList<Job>, now: () => number) {
    this.#live = live
    this.#now = now
  }

  /** A job is live from now on. */
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
