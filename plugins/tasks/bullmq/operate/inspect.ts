/**
 * Reads what runs, what waits, what runs later, and the schedules of a name. Each list has a limit, and no payload is
 * read.
 */
import type { IoRedis } from '../../../redis.ts'
import type { DelayedTask, Inspection, RunningTask, ScheduleState, WaitingTask } from '../../named/operations.ts'
import type { KeyPermits } from '../keys/permits.ts'
import type { StoredQueue } from '../queue.ts'

/** BullMQ keeps the time of a delayed job in the upper bits of its score, and an order within the ms in the others. */
export const SCORES_A_MS = 0x1000

export interface Inspected {
  queue: StoredQueue
  redis: IoRedis
  name: string
  /** If the name has a bound by key. */
  permits: KeyPermits | undefined
  limit: number
}

export async function inspect (of: Inspected): Promise<Inspection> {
  const [running, waiting, delayed, schedules] = await Promise.all([
    readRunning(of), readWaiting(of), readDelayed(of), readSchedules(of)
  ])
  return { running, waiting, delayed, schedules }
}

async function readRunning (of: Inspected): Promise<RunningTask[]> {
  const { queue, name, limit } = of
  const ids = await queue.ask(name, () => queue.jobs.getRanges(['active'], 0, limit - 1))
  const tasks = await Promise.all(ids.map(async (jobId): Promise<RunningTask | undefined> => {
    const [ownId, process, attempts, startedAt] = await fieldsOf(of, jobId, 'deid', 'pb', 'atm', 'processedOn')
    // It may have ended since its id was read.
    if (startedAt === null || startedAt === undefined) return undefined
    return {
      id: `${name}:${ownId ?? jobId}`,
      process: process ?? undefined,
      attempt: Number(attempts ?? 0) + 1,
      startedAt: Number(startedAt)
    }
  }))
  return tasks.filter((task) => task !== undefined).sort((a, b) => a.startedAt - b.startedAt)
}

async function readWaiting (of: Inspected): Promise<WaitingTask[]> {
  const { queue, name, permits, limit } = of
  const [inLine, parked] = await Promise.all([
    queue.ask(name, () => queue.jobs.getRanges(['waiting'], 0, limit - 1, true)),
    permits?.parked(limit, (command) => queue.ask(name, command)) ?? []
  ])
  // One that was parked may have got its permit since.
  const ids = [...new Set([...inLine, ...parked])].slice(0, limit)
  const tasks = await Promise.all(ids.map(async (jobId, index): Promise<WaitingTask | undefined> => {
    const [ownId, enqueuedAt] = await fieldsOf(of, jobId, 'deid', 'timestamp')
    if (enqueuedAt === null || enqueuedAt === undefined) return undefined
    return {
      id: `${name}:${ownId ?? jobId}`, enqueuedAt: Number(enqueuedAt), waitsForKey: index >= inLine.length
    }
  }))
  return tasks.filter((task) => task !== undefined)
}

async function readDelayed (of: Inspected): Promise<DelayedTask[]> {
  const { queue, redis, name, permits, limit } = of
  const found = permits === undefined
    ? await queue.ask(name, () => redis.zrange(queue.jobs.toKey('delayed'), 0, limit - 1, 'WITHSCORES'))
    : await permits.delayed(limit, (command) => queue.ask(name, command))
  const ids = found.filter((_, index) => index % 2 === 0)
  return await Promise.all(ids.map(async (jobId, index): Promise<DelayedTask> => {
    const [ownId, attempts, message] = await fieldsOf(of, jobId, 'deid', 'atm', 'failedReason')
    return {
      id: `${name}:${ownId ?? jobId}`,
      attempts: Number(attempts ?? 0),
      runsAt: Math.floor(Number(found[2 * index + 1]) / SCORES_A_MS),
      message: message ?? undefined
    }
  }))
}

async function readSchedules ({ queue, name, limit }: Inspected): Promise<ScheduleState[]> {
  const found = await queue.ask(name, () => queue.jobs.getJobSchedulers(0, limit - 1, true))
  return found.map(({ key, every, pattern = '', tz, next }) => ({
    id: key,
    schedule: every === undefined ? { cron: pattern, ...tz !== undefined && { timezone: tz } } : { every },
    nextAt: Number(next)
  }))
}

async function fieldsOf ({ queue, redis, name }: Inspected, jobId: string, ...fields: string[]):
Promise<Array<string | null>> {
  return await queue.ask(name, () => redis.hmget(queue.jobs.toKey(jobId), ...fields))
}
