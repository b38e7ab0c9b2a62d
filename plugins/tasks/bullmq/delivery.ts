/**
 * Delivery is a job that Redis has given to this process: it runs the job's task, and says what Redis is to make of the
 * outcome. Each attempt is a task of a scheduler, which gives it what a task in memory has: a deadline, a signal, a
 * log, an outcome.
 */
import type { Job, Worker } from 'bullmq'
import type * as Bullmq from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import { aborted, crashed } from '../../core/ledger/ledger.ts'
import type { Unfinished } from '../../shared/drainables.ts'
import { TaskAbortedError, TaskCrashedError, TaskDuplicateError } from '../../shared/errors.ts'
import { logSafely } from '../../shared/log.ts'
import type { IoRedis } from '../../redis.ts'
import type { NamedTasks } from '../named/named.ts'
import { StoredRetry } from '../running/retry.ts'
import type { Scheduler } from '../scheduler.ts'
import type { TaskLedger } from '../ledger.ts'
import { toError } from '../thrown.ts'
import type { KeyPermits } from './keys/permits.ts'
import { Failure, idOf, toOptions, type StoredTask } from './stored.ts'

/** A task that has lost its process this often may be what ends processes. */
const SUSPECT_AFTER = 2

/** The runs as a suspect whose process may end before the task is given up. More than SUSPECT_AFTER: see Suspects. */
const MAX_RUNS = 3

/** The field of the job that counts the runs as a suspect that have begun and not ended in order. */
const RUNS = 'fc:suspect'

/**
 * Suspects decides which tasks are given up because their processes end.
 *
 * A process that ends takes all its tasks with it, the cause and those beside it. So the ends that BullMQ counts only
 * make a task a suspect. A process runs one suspect at a time, and only an end in the middle of such a run counts
 * against the suspect. One task that ends its processes is therefore given up alone: the ends before it becomes a
 * suspect itself are fewer than another suspect needs.
 */
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

/** A task that can't run here now, because an earlier run of it still does, is tried again after this time, in ms. */
const BUSY_DELAY_MS = 1_000

export type StoredJob = Job<StoredTask>

/** The process to which jobs are delivered. */
export interface Receiver {
  readonly bullmq: typeof Bullmq
  readonly named: NamedTasks
  readonly ledger: TaskLedger
  readonly log: FastifyBaseLogger
  readonly runs: Scheduler
  /** How long Redis keeps the lock of a job that nobody renews, in ms. */
  readonly lockDuration: number
  /** Whether the process takes no more tasks: what is still delivered goes back. */
  isClosing: boolean
  /** Whether the process aborts what runs, and hands it back. */
  isGivingUp: boolean
  readonly suspects: Suspects
  /** By name, of those that have a bound by key. */
  readonly permits: ReadonlyMap<string, KeyPermits>
}

export class Delivery {
  readonly id: string
  readonly job: StoredJob
  readonly worker: Worker
  readonly #process: Receiver
  readonly #since: number
  /** When Redis was last asked for the lock, by two clocks. */
  #lockedAt: { steady: number, wall: number }
  #isCancelled = false

  /** @param since when Redis was asked for a job, by `performance.now()` */
  constructor (job: StoredJob, worker: Worker, consuming: Receiver, since: number) {
    this.id = idOf(job.name, job.data, job.id as string)
    this.job = job
    this.worker = worker
    this.#process = consuming
    this.#since = since
    this.#lockedAt = { steady: since, wall: job.processedOn ?? 0 }
  }

  describe (now: number): Unfinished {
    const { id, job: { name, attemptsMade } } = this
    return { kind: 'task', name, id, ageMs: Math.round(now - this.#since), attempt: attemptsMade + 1 }
  }

  cancel (): void {
    this.#isCancelled = true
    this.#process.runs.cancel(this.id, 'cancel() was called')
  }

  /** Another process may run the task by now. */
  lostLock (): void {
    this.#process.runs.cancel(this.id, 'its lock has expired, and another process may run it')
  }

  /**
   * Resolves to the result of the task. Rejects with a Failure, or with an error that tells BullMQ that the job is back
   * in its queue.
   */
  async run (): Promise<unknown> {
    const { id, job } = this
    const consuming = this.#process
    if (this.#isLockOld) await this.#renewLock()
    if (!consuming.suspects.has(job)) return await this.#run()
    const key = this.worker.toKey(job.id as string)
    const decision = await consuming.suspects.begin(key)
    if (decision === 'wait') return await this.#runLater()
    if (decision === 'give up') {
      const error = new TaskCrashedError(id, job.stalledCounter)
      consuming.ledger.ended({ id, attempts: job.attemptsMade }, crashed(error))
      throw this.#failure(error)
    }
    try {
      return await this.#run()
    } finally {
      await consuming.suspects.end(key)
    }
  }

  async #run (): Promise<unknown> {
    const { job } = this
    const consuming = this.#process
    const permits = consuming.permits.get(job.name)
    if (permits === undefined) return await this.#runNow()
    // What is not going to run needs no permit.
    if (!consuming.isClosing && !this.#isToEnd) {
      const decision = await permits.begin(job).catch(() => 'later' as const)
      if (decision === 'later') return await this.#runLater()
      if (decision === 'lost') throw new consuming.bullmq.WaitingError()
      if (decision === 'park') return await this.#runLater(permits)
    }
    try {
      return await this.#runNow()
    } finally {
      // A permit that nobody has passed on is found by a sweep.
      await permits.end(job).catch((err: unknown) => this.#tellOfPermit(err))
    }
  }

  get #isToEnd (): boolean {
    return this.job.data.cancelled === true || this.#isCancelled
  }

  async #runNow (): Promise<unknown> {
    const { id, job } = this
    const consuming = this.#process
    // To ask about a suspect takes a while, too.
    if (this.#isLockOld) await this.#renewLock()
    if (consuming.isClosing) return await this.#handBack()
    if (this.#isToEnd) {
      const error = new TaskAbortedError(id, 'cancel() was called')
      consuming.ledger.ended({ id, attempts: job.attemptsMade }, aborted(error))
      throw this.#failure(error, true)
    }
    try {
      return this.#storable(await this.#attempt())
    } catch (thrown) {
      if (thrown instanceof StoredRetry) throw new Failure(thrown.cause as Error, thrown.delay)
      if (thrown instanceof TaskDuplicateError) return await this.#runLater()
      const isAborted = thrown instanceof TaskAbortedError
      if (isAborted && consuming.isGivingUp && !this.#isCancelled) return await this.#handBack()
      throw this.#failure(toError(id, thrown), isAborted && this.#isCancelled)
    }
  }

  /**
   * Whether the lock may have expired, or may do so before it is renewed: this process was frozen, its event loop held,
   * or Redis slow, since it was asked for the job. The monotonic clock may stand still with a virtual machine, and the
   * other one may be set back. A clock that is set forward costs one question.
   */
  get #isLockOld (): boolean {
    const { steady, wall } = this.#lockedAt
    return Math.max(performance.now() - steady, Date.now() - wall) >= this.#process.lockDuration / 2
  }

  /** Rejects as a job does that has lost its lock, unless Redis says that this process still has it. */
  async #renewLock (): Promise<void> {
    const { bullmq, log, lockDuration } = this.#process
    const { id, job } = this
    while (this.#isLockOld) {
      this.#lockedAt = { steady: performance.now(), wall: Date.now() }
      const isHeld = await job.extendLock(job.token as string, lockDuration).then((held) => held === 1, () => false)
      if (isHeld) continue
      const message = 'tasks: a task is not started, since another process may run it by now: this process was stopped,' +
        ' held its event loop, or could not reach Redis, for longer than lockDuration'
      logSafely(log, 'warn', { task: id }, message)
      throw Object.assign(new Error(message), { code: bullmq.ErrorCode.JobLockNotExist })
    }
  }

  #attempt (): Promise<unknown> {
    const { id, job: { id: jobId, name, data, opts, attemptsMade, repeatJobKey, timestamp } } = this
    const { named, runs } = this.#process
    return runs.attempt({
      id,
      key: name,
      reqId: data.reqId,
      carrier: data.carrier,
      fn: (context) => named.run(name, data.payload, context),
      options: toOptions(data, opts.attempts, named.defaults(name)),
      stored: {
        attempts: attemptsMade,
        idempotencyKey: repeatJobKey === undefined
          ? jobId as string
          : id,
        ageMs: Math.max(Date.now() - timestamp, 0)
      }
    })
  }

  /** A task that was cancelled has not failed, so it isn't kept among those that have. */
  #failure (error: Error, isCancelled = false): Failure {
    if (isCancelled) this.job.opts.removeOnFail = true
    return new Failure(error, -1)
  }

  /**
   * Returns the result as far as it can be stored. The task has done its work: a result that JSON can't hold must not
   * make it run again.
   */
  #storable (result: unknown): unknown {
    try {
      if (typeof result === 'object' || typeof result === 'bigint') JSON.stringify(result)
      return typeof result === 'function' || typeof result === 'symbol' ? undefined : result
    } catch (err) {
      logSafely(this.#process.log, 'warn', { err, task: this.id },
        'tasks: the result of a task can\'t be stored as JSON: its handle resolves to undefined')
      return undefined
    }
  }

  /** Puts the task back, first in line. The attempt doesn't count. */
  async #handBack (): Promise<never> {
    const { bullmq, log } = this.#process
    try {
      await this.job.moveToWait(this.job.token)
      logSafely(log, 'info', { task: this.id }, 'tasks: a task was handed back: another process runs it')
    } catch (err) {
      logSafely(log, 'error', { err, task: this.id },
        'tasks: a task could not be handed back: another process runs it when its lock expires')
    }
    throw new bullmq.WaitingError()
  }

  /** @param permits if the task waits for others of its key, and not for a time */
  async #runLater (permits?: KeyPermits): Promise<never> {
    const { bullmq, log } = this.#process
    const delay = permits?.parkedMs() ?? BUSY_DELAY_MS
    await this.job.moveToDelayed(Date.now() + delay, this.job.token).catch((err: unknown) => {
      logSafely(log, 'error', { err, task: this.id },
        'tasks: a task that can\'t run now could not be put off: it runs when its lock expires')
    })
    await permits?.parkFirst(this.job).catch((err: unknown) => this.#tellOfPermit(err))
    throw new bullmq.DelayedError()
  }

  #tellOfPermit (err: unknown): void {
    logSafely(this.#process.log, 'debug', { err, task: this.id }, 'tasks: the line of a key could not be told')
  }
}
