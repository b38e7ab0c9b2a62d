/**
 * The engine that stores named tasks in Redis or Valkey, by BullMQ: they survive their process, and run in any process
 * that consumes them.
 *
 * It guarantees that a task that was accepted runs at least once, as long as Redis keeps its data; that one id is
 * waiting or running at most once; and that no caller waits for Redis longer than `storeTimeout`. It doesn't guarantee
 * that a task runs only once: a process that ends, or can't renew a lock, has its tasks run again. Handlers have an
 * `idempotencyKey` for that.
 *
 * Each name has a queue of its own, so that a process may consume some names only, and no kind of task delays another.
 */
import type { Job, JobsOptions, Queue, QueueOptions } from 'bullmq'
import type * as Bullmq from 'bullmq'
import { randomUUID } from 'node:crypto'
import { aborted } from '../../core/ledger/ledger.ts'
import {
  ClosingError, OptionInvalidError, TaskAbortedError, TaskDuplicateError, TaskStoreError
} from '../../shared/errors.ts'
import { logSafely } from '../../shared/log.ts'
import * as check from '../../shared/options.ts'
import { processName } from '../../process-name.ts'
import { within } from '../../shared/within.ts'
import type { IoRedis } from '../../redis.ts'
import type { Engine, NamedTask, QueueStats, ScheduledTask } from '../named/engine.ts'
import type { StoredTasksOptions } from '../options.ts'
import type { TasksStats } from '../scheduler.ts'
import { nameOf, type TaskHandle } from '../task.ts'
import { checkServer } from './boot-checks.ts'
import { Connections } from './connections.ts'
import { Consumer, type EngineDeps } from './consumer.ts'
import { Outcomes, StoredHandle } from './handle.ts'
import { KeyPermits } from './keys/permits.ts'
import { Operations } from './operate/operations.ts'
import { SCORES_A_MS } from './operate/inspect.ts'
import { Processes, SILENT_MS } from './operate/processes.ts'
import { StoredQueue } from './queue.ts'
import { Failure, idOf, isJobId, keyOf, toRetryOptions, toStored, toStoredTask, type StoredTask } from './stored.ts'

/**
 * In braces as the hash tag: in a cluster the keys of a queue must lie on one node, and those of another name may lie
 * on another.
 */
const queueName = (name: string): string => `{${name}}`

export class BullmqEngine implements Engine {
  readonly #bullmq: typeof Bullmq
  readonly #deps: EngineDeps
  readonly #connections: Connections
  readonly #queues: ReadonlyMap<string, StoredQueue>
  /** By name, of those that have a bound by key. */
  readonly #permits: ReadonlyMap<string, KeyPermits>
  readonly #outcomes: Outcomes
  readonly #cancelChannel: string
  readonly #processes: Processes
  readonly drainable: Consumer
  readonly operations: Operations
  #isClosing = false

  /** Loads BullMQ and connects. Rejects with FC_ERR_OPTION_INVALID. */
  static async open (tasks: { concurrency: number, grace: number }, stored: StoredTasksOptions,
    deps: EngineDeps): Promise<BullmqEngine> {
    const bullmq = await import('bullmq').catch((cause: unknown) => {
      throw new OptionInvalidError('tasks.redis', 'the package bullmq to be installed (npm install bullmq ioredis)',
        String(cause))
    })
    const connections = new Connections(stored.redis, deps.log)
    if (await connections.first()) await checkServer(connections.commands, stored.storeTimeout, deps.log)
    return new BullmqEngine(bullmq, connections, tasks, stored, deps)
  }

  constructor (bullmq: typeof Bullmq, connections: Connections,
    { concurrency, grace }: { concurrency: number, grace: number }, stored: StoredTasksOptions, deps: EngineDeps) {
    this.#bullmq = bullmq
    this.#deps = deps
    this.#connections = connections
    const { lockDuration, keep } = stored
    const shared = { prefix: `${stored.prefix}:tasks` }
    const options: QueueOptions = { ...shared, connection: connections.commands as never }
    this.#queues = new Map(deps.named.names.map((name) => {
      const jobs = new bullmq.Queue<StoredTask>(queueName(name), options)
      jobs.on('error', (err) => logSafely(deps.log, 'debug', { err, task: name }, 'tasks: BullMQ'))
      return [name, new StoredQueue(jobs, connections, { timeout: stored.storeTimeout, limit: stored.maxStored })]
    }))
    const permitsOf = (names: readonly string[], redis: () => IoRedis): ReadonlyMap<string, KeyPermits> =>
      new Map(names.flatMap((name) => {
        const perKey = deps.named.perKey(name)
        return perKey === undefined
          ? []
          : [[name, new KeyPermits(bullmq, redis(), (this.#queues.get(name) as StoredQueue).jobs, perKey)] as const]
      }))
    this.#permits = permitsOf(deps.named.names, () => connections.commands)
    this.#outcomes = new Outcomes(bullmq, connections, options)
    this.#processes = new Processes(connections.commands, stored.prefix, { names: stored.consume, concurrency },
      deps.log)
    this.operations = new Operations({
      bullmq,
      redis: connections.commands,
      queueOf: (name) => this.#queue(name),
      permits: this.#permits,
      names: deps.named.names,
      processes: this.#processes,
      log: deps.log
    })
    this.#cancelChannel = `${stored.prefix}:tasks:cancelled`
    this.drainable = new Consumer(bullmq, {
      names: stored.consume,
      concurrency,
      grace,
      lockDuration,
      queueName,
      cancelChannel: this.#cancelChannel,
      connections,
      permits: permitsOf(stored.consume, () => connections.patient),
      worker: {
        ...shared,
        concurrency,
        name: processName,
        // A delivery counts crashes itself, so that it can fail the task with FC_ERR_TASK_CRASHED.
        maxStalledCount: Number.MAX_SAFE_INTEGER,
        removeOnComplete: { count: keep.completed },
        removeOnFail: { count: keep.failed },
        settings: { backoffStrategy: (_attempts, _type, error) => error instanceof Failure ? error.delay : 0 }
      }
    }, deps)
  }

  start (): void {
    this.drainable.start()
    this.#processes.join()
  }

  async enqueue (task: NamedTask): Promise<TaskHandle> {
    const { name, id, options } = task
    const defaults = this.#deps.named.defaults(name)
    check.ensure(options.retryIf === defaults.retryIf, 'tasks.enqueue.retryIf',
      'to be left out: a stored task is tried again as the retryIf of its definition says', options.retryIf)
    const queue = this.#queue(name)
    // BullMQ frees the id of a job only when the job isn't kept any more, and the id of a deduplication when the job
    // has ended.
    const jobId = task.isIdChosen ? randomUUID() : task.ownId
    const jobOptions: JobsOptions = toRetryOptions(options)
    jobOptions.jobId = jobId
    if (options.delay > 0) jobOptions.delay = Math.ceil(options.delay)
    if (task.isIdChosen) jobOptions.deduplication = { id: task.ownId }
    const data = toStored(task, defaults)
    const permits = this.#permits.get(name)
    if (permits !== undefined && task.key !== name) data.key = task.key
    if (permits !== undefined && options.delay === 0) {
      data.parked = true
      jobOptions.delay = permits.parkedMs()
    }
    const create = (): Promise<Job<StoredTask>> => {
      queue.bound.add()
      // As add() of a Queue does, without the spans of BullMQ's own tracing: the suite traces tasks itself.
      return this.#bullmq.Job.create<StoredTask>(queue.jobs, name, data, jobOptions)
    }
    const job = await queue.ask(id, () => queue.bound.counted()?.then(create) ?? create())
    if (job.id !== jobId) await this.#join(queue, task, job.id as string)
    else {
      await this.#park(queue, job, id)
      this.#deps.ledger.submitted(task)
    }
    return this.#handle(queue, id, job.id as string)
  }

  async cancel (id: string): Promise<boolean> {
    const name = nameOf(id)
    if (!this.#queues.has(name)) return false
    const queue = this.#queue(name)
    const ownId = id.slice(name.length + 1)
    const job = await queue.ask(id, async () => {
      const jobId = await queue.jobs.getDeduplicationJobId(ownId) ?? ownId
      return isJobId(jobId) ? await queue.jobs.getJob(jobId) : undefined
    })
    if (job === undefined || job.finishedOn !== undefined ||
      idOf(name, toStoredTask(job.data), job.id as string) !== id) return false
    // The next run of a schedule is part of it: BullMQ refuses to remove that alone.
    if (job.repeatJobKey !== undefined && await queue.ask(id, () => job.isDelayed())) return false
    return await this.#cancelJob(queue, job, id)
  }

  async schedule ({ name, id, schedule, payload, options }: ScheduledTask): Promise<void> {
    const queue = this.#queue(name)
    if ('cron' in schedule) this.#checkCron(schedule)
    const repeat = 'every' in schedule
      ? { every: schedule.every }
      : { pattern: schedule.cron, tz: schedule.timezone ?? 'UTC' }
    await queue.ask(`${name}:${id}`,
      () =>
        queue.jobs.upsertJobScheduler(id, repeat,
          { name, data: toStored({ payload, options }, options), opts: toRetryOptions(options) }))
  }

  async unschedule (name: string, id: string): Promise<boolean> {
    const queue = this.#queue(name)
    return await queue.ask(`${name}:${id}`, () => queue.jobs.removeJobScheduler(id))
  }

  async queues (): Promise<QueueStats[]> {
    if (this.#queues.size === 0) return []
    const processes = await this.operations.processes()
    const consumers = (name: string): number =>
      processes.filter(({ consumes, seenMs }) => seenMs < SILENT_MS && consumes.includes(name)).length
    return await Promise.all([...this.#queues.keys()].map(async (name) => this.#queue(name).ask(name, async () => {
      const { jobs } = this.#queue(name)
      const [counts, [oldest], paused, ofKeys, due] = await Promise.all([
        jobs.getJobCounts('waiting', 'delayed', 'active', 'failed'), jobs.getJobs(['waiting'], 0, 0, true),
        jobs.isPaused(), this.#permits.get(name)?.count(), this.#due(jobs)
      ])
      const { waiting = 0, delayed = 0, active: running = 0, failed = 0 } = counts
      // Without a consumer, a task whose delay is over stays where the delayed are. A parked one is counted once.
      const parked = Math.min(Math.max(ofKeys?.parked ?? 0, due.count), delayed)
      return {
        name,
        waiting: waiting + parked,
        delayed: delayed - parked,
        running,
        failed,
        oldestMs: Math.max(ofKeys?.oldestMs ?? 0, oldest === undefined ? 0 : Date.now() - dueAt(oldest), due.lateMs, 0),
        paused,
        processes: consumers(name)
      }
    })))
  }

  /** Counts the delayed jobs whose time has come, and says by how many ms the first of them is late. */
  async #due (jobs: Queue<StoredTask>): Promise<{ count: number, lateMs: number }> {
    const [key, now] = [jobs.toKey('delayed'), Date.now()]
    const redis = this.#connections.commands
    const [count, [, score]] = await Promise.all([
      redis.zcount(key, '-inf', now * SCORES_A_MS), redis.zrange(key, 0, 0, 'WITHSCORES')
    ])
    return { count, lateMs: count === 0 ? 0 : now - Math.floor(Number(score) / SCORES_A_MS) }
  }

  stats (): TasksStats {
    return this.drainable.stats()
  }

  async close (): Promise<void> {
    this.#isClosing = true
    const { patience } = this.drainable
    await Promise.all([
      this.drainable.closed(patience),
      this.#outcomes.close(patience),
      within(patience, this.#processes.leave()),
      // Calls that were made before are answered, or told that Redis doesn't answer.
      ...[...this.#queues.values()].map(async (queue) => queue.settled(patience))
    ])
    this.#connections.close()
  }

  /** Returns the queue of a name that is defined. @throws FC_ERR_CLOSING */
  #queue (name: string): StoredQueue {
    if (this.#isClosing) throw new ClosingError('The service')
    return this.#queues.get(name) as StoredQueue
  }

  /** @throws FC_ERR_TASK_DUPLICATE unless the task that has the id may be joined */
  async #join (queue: StoredQueue, { id, options }: NamedTask, jobId: string): Promise<void> {
    if (options.duplicate === 'reject') throw new TaskDuplicateError(id)
    const job = await queue.ask(id, () => queue.jobs.getJob(jobId))
    if (job?.data.cancelled === true) throw new TaskDuplicateError(id)
    // The caller that has stored the task may not have got further.
    if (job?.attemptsStarted === 0) await this.#park(queue, job, id)
  }

  /** Lets a task that was stored as parked take its place in the line of its key. */
  async #park (queue: StoredQueue, job: Job<StoredTask>, id: string): Promise<void> {
    const permits = job.data.parked === true ? this.#permits.get(job.name) : undefined
    if (permits === undefined) return
    try {
      await queue.ask(id, () => permits.park(job))
    } catch (error) {
      // Whatever has failed now, the task is stored.
      throw error instanceof TaskStoreError ? new TaskStoreError(id, 'unanswered', { cause: error.cause }) : error
    }
  }

  #handle (queue: StoredQueue, id: string, jobId: string): TaskHandle {
    const cancel = (): void => {
      this.cancel(id).catch((err: unknown) =>
        logSafely(this.#deps.log, 'error', { err, task: id }, 'tasks: the task could not be cancelled'))
    }
    return new StoredHandle(id, () => this.#outcomes.of({ id, jobId, queue }), cancel)
  }

  /**
   * Removes a job that waits. One that runs, or is the run of a schedule, is marked: it never runs (again), and its
   * process is told.
   */
  async #cancelJob (queue: StoredQueue, job: Job<StoredTask>, id: string): Promise<boolean> {
    const jobId = job.id as string
    // Zero if a process holds the lock of the job. Without its next run, a schedule would end.
    const removed = job.repeatJobKey === undefined ? await queue.ask(id, () => queue.jobs.remove(jobId)) : 0
    if (removed > 0) {
      this.#deps.ledger.ended({ id, attempts: job.attemptsMade },
        aborted(new TaskAbortedError(id, 'cancel() was called')))
      // If that fails, a sweep finds the permit.
      await queue.ask(id, async () => this.#permits.get(job.name)?.end(job)).catch(() => {})
      return true
    }
    await queue.ask(id, () => job.updateData({ ...job.data, cancelled: true }))
    await queue.ask(id, () => this.#connections.commands.publish(this.#cancelChannel, keyOf(job)))
    return true
  }

  #checkCron ({ cron, timezone }: { cron: string, timezone?: string }): void {
    try {
      this.#bullmq.defaultRepeatStrategy(Date.now(), { pattern: cron, tz: timezone ?? 'UTC' })
    } catch (error) {
      check.ensure(false, 'tasks.schedule.cron',
        `a cron expression, and a time zone that there is (${(error as Error).message})`, { cron, timezone })
    }
  }
}

/** Returns from when on a job that waits could have run, if there were no others. */
function dueAt ({ timestamp, opts, data }: Job<StoredTask>): number {
  return timestamp + (toStoredTask(data).parked === true ? 0 : opts.delay ?? 0)
}
