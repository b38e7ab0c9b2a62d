/**
 * A TaskWorker is BullMQ's Worker of one name, which says what it holds: from when Redis has given it a task, until
 * Redis knows what has become of the task. It differs from BullMQ's in three ways:
 *
 * - It asks a Redis that refuses to give tasks again only after a pause.
 * - It tells when it asked for a task, so that a process that was frozen doesn't start what others run by now.
 * - It leaves a task that it has lost to the process that has it now.
 */
import type { ConnectionOptions, Worker, WorkerOptions } from 'bullmq'
import type * as Bullmq from 'bullmq'
import type { StoredJob } from './delivery.ts'
import { toStoredTask, type StoredTask } from './stored.ts'

/** How long a Worker waits after it could not reach Redis, in ms. BullMQ's own default is 15 s. */
const RETRY_DELAY_MS = 500

/** The pause after the first refusal, in ms. Each further refusal doubles the pause. */
const FIRST_PAUSE_MS = 100

/** The longest pause, in ms: how late a process may notice that Redis works again. */
const MAX_PAUSE_MS = 2_000

/**
 * Backoff spaces the tries of a Worker to take tasks from a Redis that refuses: its memory is full, say, or a right is
 * missing. A Worker of BullMQ would ask again at once, thousands of times a second.
 */
export class Backoff {
  readonly #limit: number
  #refusals = 0
  #endsAt = 0
  /** How many pauses end at once: what interrupts them came before. */
  #interrupts = 0
  #isEnded = false
  /** Ends the pause that somebody waits for. */
  #wake: (() => void) | undefined

  /** @param limit how many interruptions may come while nobody waits for a pause */
  constructor (limit: number) {
    this.#limit = limit
  }

  /** Whether Redis refused the last try. */
  get isRefused (): boolean { return this.#refusals > 0 }

  /** Resolves to true when the pause is over, and to false if it was interrupted. */
  async pause (): Promise<boolean> {
    if (this.#isEnded) return false
    if (this.#interrupts > 0) {
      this.#interrupts--
      return false
    }
    return await new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), Math.max(0, this.#endsAt - performance.now()))
      this.#wake = () => {
        clearTimeout(timer)
        this.#wake = undefined
        resolve(!this.#isEnded && performance.now() >= this.#endsAt)
      }
    })
  }

  refused (): void {
    this.#endsAt = performance.now() + Math.min(FIRST_PAUSE_MS * 2 ** this.#refusals++, MAX_PAUSE_MS)
  }

  granted (): void {
    this.#refusals = 0
  }

  /** Ends the pause, or the next one if nobody waits for any: the Worker has something else to do. */
  interrupt (): void {
    if (this.#wake !== undefined) this.#wake()
    else this.#interrupts = Math.min(this.#interrupts + 1, this.#limit)
  }

  /** Ends all pauses, for good. */
  end (): void {
    this.#isEnded = true
    this.#wake?.()
  }
}

type Base = Worker<StoredTask>

/** When Redis was asked for the job, by `performance.now()`. A WeakMap costs some µs of each task. */
const askedAt = Symbol('askedAt')
type Asked = StoredJob & { [askedAt]?: number }

export interface TaskWorker extends Base {
  /**
   * Ends the timer that renews locks. A Worker that waits for Redis when it closes would never end the timer, nor would
   * the process end.
   */
  stopRenewing (): void
}

export interface TaskWorkerOptions extends Omit<WorkerOptions, 'connection'> {
  connection: unknown
  concurrency: number
  lockDuration: number
}

export interface Holder {
  /**
   * Redis has given the job to this process.
   *
   * @param askedAt when it was asked for, by `performance.now()`: its lock was not taken before
   */
  hold (job: StoredJob, worker: TaskWorker, askedAt: number): void
  run (job: StoredJob): Promise<unknown>
  /** This process is done with the job. */
  release (job: StoredJob): void
  /** Redis refuses to give tasks. Called once, until `granted()`. */
  refused (error: Error): void
  /** Redis has answered as it should, after `refused()`. */
  granted (): void
}

/**
 * Tells whether Redis refuses the outcome of a job by this error: the job has ended elsewhere, its lock has expired, or
 * another process has it.
 */
export function isLost ({ ErrorCode }: typeof Bullmq, err: Error & { code?: unknown }): boolean {
  const { JobNotExist, JobLockNotExist, JobLockMismatch } = ErrorCode
  return [JobNotExist, JobLockNotExist, JobLockMismatch].includes(err.code as number)
}

export function createWorker (bullmq: typeof Bullmq, queueName: string, options: TaskWorkerOptions,
  holder: Holder): TaskWorker {
  const { lockDuration } = options
  const backoff = new Backoff(options.concurrency)
  /** Notes when the job was asked for that Redis gives. */
  async function noted<T extends StoredJob | undefined> (ask: () => Promise<T>): Promise<T> {
    const now = performance.now()
    const job = await ask()
    if (job !== undefined) (job as Asked)[askedAt] = now
    return job
  }

  // Nothing that BullMQ publishes says when a job that lost its lock is done with, so the method that does all of it
  // is wrapped.
  class HoldingWorker extends bullmq.Worker<StoredTask> implements TaskWorker {
    override processJob (...[job, token, wantsNext]: Parameters<Base['processJob']>): ReturnType<Base['processJob']> {
      // Others may write to the queue, and what is thrown here, outside of a job, would end the process.
      job.data = toStoredTask(job.data)
      holder.hold(job, this, (job as Asked)[askedAt] ?? performance.now())
      const processed = super.processJob(job, token, wantsNext)
      const isOver = (): void => {
        holder.release(job)
        // What ends may bring the next job with it.
        backoff.interrupt()
      }
      processed.then(isOver, isOver)
      return processed
    }

    stopRenewing (): void {
      void this.lockManager.close()
    }

    /** Asks Redis for a job, unless the Worker pauses. */
    protected override async moveToActive (...args: Parameters<Base['moveToActive']>): Promise<StoredJob> {
      if (backoff.isRefused && !await backoff.pause()) return undefined as never
      try {
        const job = await noted(() => super.moveToActive(...args))
        if (backoff.isRefused) holder.granted()
        backoff.granted()
        return job
      } catch (error) {
        if (!backoff.isRefused) holder.refused(error as Error)
        backoff.refused()
        throw error
      }
    }

    protected override handleCompleted (...args: Parameters<Base['handleCompleted']>): Promise<StoredJob> {
      return noted(() => super.handleCompleted(...args))
    }

    /**
     * A job that this process has lost is not to fail because Redis refuses its result: the process that has it now
     * decides.
     */
    protected override async handleFailed (
      ...[err, job, token, wantsNext, span]: Parameters<Base['handleFailed']>): Promise<StoredJob> {
      if (isLost(bullmq, err)) return undefined as never
      // A job that is back in its queue is followed by moveToActive(). It must not be held while the Worker pauses.
      const isBack = err instanceof bullmq.DelayedError || err instanceof bullmq.WaitingError
      const next = (): boolean => !(isBack && backoff.isRefused) && (wantsNext?.() ?? true)
      return await noted(() => super.handleFailed(err, job, token, next, span))
    }

    /**
     * Returns how long this Worker waits to be woken before it looks for tasks itself, in seconds. Redis wakes the
     * Worker that has waited longest, which may be one of a frozen process. Other Workers would then wait for 5 or 10
     * s, BullMQ's defaults.
     */
    protected override getBlockTimeout (blockUntil: number): number {
      return Math.min(super.getBlockTimeout(blockUntil), lockDuration / 8 / 1_000)
    }
  }

  const worker = new HoldingWorker(queueName, (job) => holder.run(job), {
    ...options,
    // One check marks the tasks that run, and a later one moves those that have no lock. A process whose check comes
    // just too early for its turn checks one interval later, so checks are at most two intervals apart.
    stalledInterval: lockDuration / 4,
    runRetryDelay: RETRY_DELAY_MS,
    connection: options.connection as ConnectionOptions
  })
  worker.on('closing', () => backoff.end())
  return worker
}
