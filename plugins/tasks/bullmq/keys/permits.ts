/**
 * KeyPermits bounds how many tasks of one key run at once, over all processes, and lets keys take turns.
 *
 * A key has `perKey` permits. A task with a permit waits in line with those of other keys, or runs. All others are
 * parked: they are delayed jobs of BullMQ, in a line of their key. So a key never has more than `perKey` tasks in line,
 * whatever it has stored. The task that ends passes its permit on to the first that is parked.
 *
 * A task runs only with a permit, which it gets at the latest when it is delivered: retries, delayed tasks, and what
 * other tools put in line come without one. A task keeps its permit while its process is dead, until it has run
 * elsewhere, so the bound holds through crashes.
 *
 * All that is kept here is an order. If a process ends between two commands, a permit may be left with nobody, which
 * `sweep()` finds. A parked task whose place in line is lost (or whose processes know no `perKey` any more) is put in
 * line by BullMQ when its delay is over.
 */
import type { Queue } from 'bullmq'
import type * as Bullmq from 'bullmq'
import { callThrough, type CallScript, type IoRedis, type Script } from '../../../redis.ts'
import type { StoredTask } from '../stored.ts'
import { BEGIN, COUNT, PASS_ON, READ, UNSWEPT } from './scripts.ts'

/** How long a parked task is delayed, in ms: each a random time between the two, so that no crowd comes at once. */
const [MIN_PARKED_MS, MAX_PARKED_MS] = [600_000, 1_800_000]

/** How many keys a sweep looks at, one after the other: those of the longest time since their last sweep. */
const KEYS_IN_SWEEP = 1_000

/** How many jobs one script reads for a list. */
const PAGE = 1_000

/** What must be known of a job. */
interface KeyedJob {
  id?: string | undefined
  name: string
  data: StoredTask
  token?: string | undefined
}

/** Asks Redis: each page of a list is a question of its own, since a store that is silent for long counts as away. */
type Ask = <T>(command: () => Promise<T>) => Promise<T>

type Change = 'park' | 'park first' | 'end' | 'sweep'

export class KeyPermits {
  readonly #bullmq: typeof Bullmq
  readonly #redis: IoRedis
  readonly #callScript: CallScript
  readonly #jobs: Queue<StoredTask>
  readonly #perKey: number

  /** @param redis fails fast for callers who wait. Of a process that consumes, it waits for a Redis that is away. */
  constructor (bullmq: typeof Bullmq, redis: IoRedis, jobs: Queue<StoredTask>, perKey: number) {
    this.#bullmq = bullmq
    this.#redis = redis
    this.#callScript = callThrough(redis)
    this.#jobs = jobs
    this.#perKey = perKey
  }

  /** Returns the time in ms for which a job is to be delayed before it is parked. */
  parkedMs (): number {
    return Math.round(MIN_PARKED_MS + Math.random() * (MAX_PARKED_MS - MIN_PARKED_MS))
  }

  /** Puts a delayed job in the line of its key. The first in that line get the permits that are free. */
  async park (job: KeyedJob): Promise<void> {
    await this.#passOn(keyOf(job), 'park', job)
  }

  /** As park(), for a job that was delivered and has got no permit: it has waited before. */
  async parkFirst (job: KeyedJob): Promise<void> {
    await this.#passOn(keyOf(job), 'park first', job)
  }

  /** Resolves to whether a job may run that was delivered to this process; `lost` if another process has it by now. */
  async begin (job: KeyedJob): Promise<'run' | 'park' | 'lost'> {
    const [id, token] = [job.id as string, job.token as string]
    const key = keyOf(job)
    const answer = await this.#call(BEGIN,
      [this.#permits(key), this.#line(key), this.#parked, this.#jobs.toKey(`${id}:lock`)],
      id, token, String(this.#perKey))
    return answer === 1 ? 'run' : answer === 0 ? 'park' : 'lost'
  }

  /** Passes the permit of a job on that has run, or was removed. */
  async end (job: KeyedJob): Promise<void> {
    await this.#passOn(keyOf(job), 'end', job)
  }

  /** Passes on what processes that have ended did not pass on, for keys that were not swept for `age` ms. */
  async sweep (age: number): Promise<void> {
    const keys = await this.#call(UNSWEPT, [this.#keys], String(age), String(KEYS_IN_SWEEP)) as string[]
    for (const key of keys) await this.#passOn(key, 'sweep')
  }

  /**
   * Resolves to how many jobs are parked, and for how many ms at most. The number is exact up to 1,000. Beyond that it
   * may hold some whose delay was over and that are in line by now: after a long pause, say.
   */
  async count (): Promise<{ parked: number, oldestMs: number }> {
    const [parked, oldestMs] = await this.#call(COUNT, [this.#parked, this.#delayed]) as [number, number]
    return { parked, oldestMs }
  }

  /** Resolves to whether a delayed job is parked. */
  async isParked (jobId: string): Promise<boolean> {
    return (await this.#redis.zscore(this.#parked, jobId)) !== null
  }

  /** Resolves to the ids of parked jobs, the one that is parked for longest first. */
  async parked (limit: number, ask: Ask): Promise<string[]> {
    return (await this.#read(this.#parked, this.#delayed, true, limit, ask)).filter((_, index) => index % 2 === 0)
  }

  /** Resolves to the ids of delayed jobs that aren't parked, each with its score, the next one first. */
  async delayed (limit: number, ask: Ask): Promise<string[]> {
    return await this.#read(this.#delayed, this.#parked, false, limit, ask)
  }

  /**
   * Resolves to members of a sorted set, each with its score.
   *
   * @param ofOther whether to read what the other sorted set has as well, or what it hasn't
   */
  async #read (set: string, other: string, ofOther: boolean, limit: number, ask: Ask): Promise<string[]> {
    const found: string[] = []
    for (let at = 0; found.length < 2 * limit; at += PAGE) {
      const [read, page] = await ask(() => this.#call(READ, [set, other], String(at), String(at + PAGE - 1),
        ofOther ? '1' : '0')) as [number, string[]]
      found.push(...page)
      if (read < PAGE) break
    }
    return found.slice(0, 2 * limit)
  }

  get #keys (): string { return this.#jobs.toKey('fc:keys') }
  #permits (key: string): string { return this.#jobs.toKey(`fc:permits:${key}`) }
  #line (key: string): string { return this.#jobs.toKey(`fc:line:${key}`) }
  /** What is parked of all keys, with the time since when. What is not delayed any more may still be there. */
  get #parked (): string { return this.#jobs.toKey('fc:parked') }
  get #delayed (): string { return this.#jobs.toKey('delayed') }

  async #passOn (key: string, change: Change, { id = '', token = '' }: Partial<KeyedJob> = {}): Promise<void> {
    const jobs = this.#jobs
    const promoted = await this.#call(PASS_ON,
      [this.#permits(key), this.#line(key), this.#parked, this.#keys, this.#delayed],
      key, String(this.#perKey), jobs.toKey(''), change, id, token) as string[]
    const { Job, ErrorCode: { JobNotInState } } = this.#bullmq
    // Without their data, which may be large and isn't needed.
    await Promise.all(promoted.map((jobId) =>
      new Job(jobs, jobs.name, {}, {}, jobId).promote().catch((error: unknown) => {
        // Another process has promoted it, or somebody has removed it.
        if ((error as { code?: unknown }).code !== JobNotInState) throw error
      })))
  }

  async #call (script: Script, keys: string[], ...args: string[]): Promise<unknown> {
    return await script.run(this.#callScript, keys, args)
  }
}

/** Tasks that a schedule or an older version has stored have no key. */
function keyOf ({ name, data }: KeyedJob): string {
  return data.key ?? name
}
