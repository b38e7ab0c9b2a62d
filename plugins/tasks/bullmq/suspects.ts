/**
 * Suspects decides which tasks are given up because their processes end.
 *
 * A process that ends takes all its tasks with it, the cause and those beside it. So the ends that BullMQ counts only
 * make a task a suspect. A process runs one suspect at a time, and only an end in the middle of such a run counts
 * against the suspect. One task that ends its processes is therefore given up alone: the ends before it becomes a
 * suspect itself are fewer than another suspect needs.
 */
import type { IoRedis } from '../../redis.ts'

/** A task that has lost its process this often may be what ends processes. */
const SUSPECT_AFTER = 2

/** The runs as a suspect whose process may end before the task is given up. More than SUSPECT_AFTER: see above. */
const MAX_RUNS = 3

/** The field of the job that counts the runs as a suspect that have begun and not ended in order. */
const RUNS = 'fc:suspect'

export class Suspects {
  readonly #redis: Pick<IoRedis, 'hincrby' | 'hdel'>
  #isBusy = false

  /** @param redis fails fast: a task that waits for Redis here would hold up the next suspect */
  constructor (redis: Pick<IoRedis, 'hincrby' | 'hdel'>) {
    this.#redis = redis
  }

  /** @param stalledCounter how often BullMQ has found the task without a process */
  has ({ stalledCounter }: { readonly stalledCounter: number }): boolean {
    return stalledCounter >= SUSPECT_AFTER
  }

  /**
   * Resolves to what is to become of a suspect. After `run`, call `end()` when the run has ended.
   *
   * @param key the job's, in Redis
   */
  async begin (key: string): Promise<'run' | 'wait' | 'give up'> {
    if (this.#isBusy) return 'wait'
    this.#isBusy = true
    const runs = await this.#redis.hincrby(key, RUNS, 1).catch(() => undefined)
    if (runs !== undefined && runs <= MAX_RUNS) return 'run'
    await this.end(key)
    return runs === undefined ? 'wait' : 'give up'
  }

  /**
   * The process lives on, so this run did not end it. A task that is tried again, by a tool of BullMQ perhaps, has all
   * its runs.
   */
  async end (key: string): Promise<void> {
    await this.#redis.hdel(key, RUNS).catch(() => {})
    this.#isBusy = false
  }
}
