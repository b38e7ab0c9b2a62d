/**
 * Operations reads and changes what has failed in Redis, and pauses names. It works in pages, so that neither Redis nor
 * this process is held up by many tasks, and asks Redis as a caller who waits: see StoredQueue.
 */
import type * as Bullmq from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import { TaskDuplicateError, TaskNotFailedError, TaskNotFoundError } from '../../../shared/errors.ts'
import { logSafely } from '../../../shared/log.ts'
import type { IoRedis } from '../../../redis.ts'
import type { ConsumingProcess, EngineOperations, FailedTask, Inspection } from '../../named/operations.ts'
import type { KeyPermits } from '../keys/permits.ts'
import type { StoredQueue } from '../queue.ts'
import { isJobId, toError, toStoredTask } from '../stored.ts'
import { inspect } from './inspect.ts'
import type { Processes } from './processes.ts'

/** How many tasks one round trip reads or changes. */
const PAGE = 100

/**
 * Reserves the chosen id of a failed job, so that the job can run again and no other task of this id begins meanwhile:
 * BullMQ's own retry doesn't. Returns 1, 0 if another task holds the id, or -1 if the job isn't failed. A process that
 * ends between this and the retry leaves a failed task whose id is taken, until the task is retried or discarded.
 */
const RESERVE = `
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return -1 end
local id = redis.call('HGET', KEYS[2], 'deid')
if id then
  local holder = redis.call('GET', ARGV[2] .. id)
  if holder and holder ~= ARGV[1] then return 0 end
  redis.call('SET', ARGV[2] .. id, ARGV[1])
end
return 1`

/** What the fields of a job's hash are called in Redis. The payload is in `data`. */
const FIELDS = ['deid', 'failedReason', 'stacktrace', 'atm', 'timestamp', 'finishedOn'] as const

type Retried = 'retried' | 'duplicate' | 'not failed'

/** What operations read and change. */
export interface Operated {
  bullmq: typeof Bullmq
  redis: IoRedis
  /** Throws FC_ERR_CLOSING, which ends what goes over many pages. */
  queueOf: (name: string) => StoredQueue
  /** By name, of those that have a bound by key. */
  permits: ReadonlyMap<string, KeyPermits>
  names: readonly string[]
  processes: Processes
  log: FastifyBaseLogger
}

export class Operations implements EngineOperations {
  readonly #of: Operated

  constructor (of: Operated) {
    this.#of = of
  }

  async failed (name: string, { offset, limit, payload }: Parameters<EngineOperations['failed']>[1]):
  Promise<FailedTask[]> {
    const tasks: FailedTask[] = []
    for (let at = offset; at < offset + limit; at += PAGE) {
      const ids = await this.#ids(name, at, Math.min(PAGE, offset + limit - at))
      const page = await Promise.all(ids.map((id) => this.#read(name, id, payload)))
      // A task may have been retried since its id was read.
      tasks.push(...page.filter((task) => task !== undefined))
      if (ids.length < PAGE) break
    }
    return tasks
  }

  async retry (name: string, id: string): Promise<void> {
    const how = await this.#retryJob(name, await this.#find(name, id))
    if (how === 'duplicate') throw new TaskDuplicateError(id)
    if (how === 'not failed') throw new TaskNotFailedError(id, 'waiting')
    this.#tell({ task: id }, 'tasks: a failed task runs again, as retry() was called')
  }

  async retryAll (name: string): Promise<number> {
    const count = await this.#each(name, async (jobId) => await this.#retryJob(name, jobId) === 'retried')
    this.#tell({ task: name, count }, 'tasks: failed tasks run again, as retryAll() was called')
    return count
  }

  async discard (name: string, id: string): Promise<void> {
    if (!await this.#discardJob(name, await this.#find(name, id))) throw new TaskNotFoundError(id)
    this.#tell({ task: id }, 'tasks: a failed task is forgotten, as discard() was called')
  }

  async discardAll (name: string): Promise<number> {
    const count = await this.#each(name, async (jobId) => await this.#discardJob(name, jobId))
    this.#tell({ task: name, count }, 'tasks: failed tasks are forgotten, as discardAll() was called')
    return count
  }

  async pause (name: string): Promise<void> {
    await this.#ask(name, ({ jobs }) => jobs.pause())
    this.#tell({ task: name }, 'tasks: no process begins a task of this name, as pause() was called')
  }

  async resume (name: string): Promise<void> {
    await this.#ask(name, ({ jobs }) => jobs.resume())
    this.#tell({ task: name }, 'tasks: processes begin tasks of this name again, as resume() was called')
  }

  async isPaused (name: string): Promise<boolean> {
    return await this.#ask(name, ({ jobs }) => jobs.isPaused())
  }

  async inspect (name: string, { limit }: { limit: number }): Promise<Inspection> {
    const { queueOf, redis, permits } = this.#of
    return await inspect({ queue: queueOf(name), redis, name, permits: permits.get(name), limit })
  }

  async processes (): Promise<ConsumingProcess[]> {
    const [name] = this.#of.names
    return name === undefined ? [] : await this.#ask(name, () => this.#of.processes.read())
  }

  async #ask<T> (name: string, command: (queue: StoredQueue) => Promise<T>): Promise<T> {
    const queue = this.#of.queueOf(name)
    return await queue.ask(name, () => command(queue))
  }

  /** Resolves to the ids of failed jobs, the latest first unless told otherwise. */
  async #ids (name: string, offset: number, count: number, oldestFirst = false): Promise<string[]> {
    return await this.#ask(name, ({ jobs }) => jobs.getRanges(['failed'], offset, offset + count - 1, oldestFirst))
  }

  /**
   * Calls `change` with each job that has failed. Resolves to how many it has changed, which leave the set. What fails
   * meanwhile joins its end, and isn't reached: a task that fails at once is not retried for ever.
   */
  async #each (name: string, change: (jobId: string) => Promise<boolean>): Promise<number> {
    let left = await this.#ask(name, ({ jobs }) => jobs.getFailedCount())
    let [changed, kept] = [0, 0]
    while (left > 0) {
      const ids = await this.#ids(name, kept, Math.min(PAGE, left), true)
      if (ids.length === 0) break
      const results = await Promise.all(ids.map(change))
      const now = results.filter(Boolean).length
      changed += now
      kept += ids.length - now
      left -= ids.length
    }
    return changed
  }

  /** Resolves to the job of the latest failed task with this id, or rejects as retry() does. */
  async #find (name: string, id: string): Promise<string> {
    const ownId = id.startsWith(`${name}:`) ? id.slice(name.length + 1) : undefined
    const chosenFor = ownId === undefined
      ? undefined
      : await this.#ask(name, ({ jobs }) => jobs.getDeduplicationJobId(ownId))
    let state: string | undefined
    for (const jobId of [id, ownId, chosenFor]) {
      if (typeof jobId !== 'string' || !isJobId(jobId)) continue
      const found = await this.#ask(name, ({ jobs }) => jobs.getJobState(jobId))
      if (found === 'failed') return jobId
      if (found !== 'unknown') state = await this.#stateOf(name, jobId, found)
    }
    const failed = ownId === undefined ? undefined : await this.#findChosen(name, ownId)
    if (failed !== undefined) return failed
    throw state === undefined ? new TaskNotFoundError(id) : new TaskNotFailedError(id, state)
  }

  /** Returns a state of BullMQ as this suite names it. */
  async #stateOf (name: string, jobId: string, state: string): Promise<string> {
    if (state === 'active') return 'running'
    const isParked = state === 'delayed' && await this.#ask(name, async () => this.#of.permits.get(name)?.isParked(jobId))
    return isParked === true ? 'waiting' : state
  }

  /** Looks through all that has failed: no index leads from a chosen id to a job that has ended. */
  async #findChosen (name: string, ownId: string): Promise<string | undefined> {
    for (let offset = 0; ; offset += PAGE) {
      const ids = await this.#ids(name, offset, PAGE)
      const chosen = await Promise.all(ids.map(async (jobId) =>
        (await this.#ask(name, ({ jobs }) => this.#of.redis.hmget(jobs.toKey(jobId), 'deid')))[0]))
      const index = chosen.indexOf(ownId)
      if (index >= 0) return ids[index]
      if (ids.length < PAGE) return undefined
    }
  }

  /** Resolves to undefined if the job is gone, or runs again. */
  async #read (name: string, jobId: string, withPayload: boolean): Promise<FailedTask | undefined> {
    const [ownId, reason, stacks, attempts, enqueuedAt, failedAt, data] = await this.#ask(name, ({ jobs }) =>
      this.#of.redis.hmget(jobs.toKey(jobId), ...FIELDS, ...withPayload ? ['data'] : []))
    if (failedAt === null || failedAt === undefined) return undefined
    const id = `${name}:${ownId ?? jobId}`
    const { name: errorName, message, code, stack } = toError(reason ?? '', lastOf(stacks), id) as Error & {
      code?: string
    }
    return {
      id,
      storedId: jobId,
      error: {
        name: errorName,
        message,
        ...code !== undefined && { code },
        ...lastOf(stacks) !== undefined && { stack: stack! }
      },
      attempts: Number(attempts ?? 0),
      enqueuedAt: Number(enqueuedAt),
      failedAt: Number(failedAt),
      ...withPayload && { payload: toStoredTask(parsed(data)).payload }
    }
  }

  async #retryJob (name: string, jobId: string): Promise<Retried> {
    const reserved = await this.#ask(name, ({ jobs }) => this.#of.redis.eval(RESERVE, 2,
      jobs.toKey('failed'), jobs.toKey(jobId), jobId, jobs.toKey('de:')))
    if (reserved !== 1) return reserved === 0 ? 'duplicate' : 'not failed'
    const { Job, ErrorCode: { JobNotExist, JobNotInState } } = this.#of.bullmq
    return await this.#ask(name, ({ jobs }) =>
      // Without its data, which may be large and isn't needed.
      new Job(jobs, name, {}, {}, jobId).retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true })
        .then(() => 'retried' as const, (error: Error & { code?: unknown }) => {
          // Another process has retried or discarded it just now.
          if (error.code === JobNotExist || error.code === JobNotInState) return 'not failed'
          throw error
        }))
  }

  /**
   * Resolves to whether it was this call that has removed the job. BullMQ would also remove a job that waits: whoever
   * takes it from the failed may remove it, so that a job which is retried at the same time is not lost.
   */
  async #discardJob (name: string, jobId: string): Promise<boolean> {
    const taken = await this.#ask(name, ({ jobs }) => this.#of.redis.zrem(jobs.toKey('failed'), jobId))
    if (taken === 0) return false
    await this.#ask(name, ({ jobs }) => jobs.remove(jobId))
    return true
  }

  #tell (fields: Record<string, unknown>, message: string): void {
    logSafely(this.#of.log, 'info', fields, message)
  }
}

/** Returns the last of the stacks that BullMQ keeps as JSON. */
function lastOf (stacks: string | null | undefined): string | undefined {
  const all = parsed(stacks)
  const last: unknown = Array.isArray(all) ? all.at(-1) : undefined
  return typeof last === 'string' ? last : undefined
}

/** Returns undefined for what is no JSON: others may write to the queue. */
function parsed (text: string | null | undefined): unknown {
  try {
    return JSON.parse(text ?? 'null')
  } catch {
    return undefined
  }
}
