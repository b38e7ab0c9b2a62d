/** Reads what runs, what runs later, and the schedules of a name. Each list has a limit, and no payload is read. */
import type { IoRedis } from '../../../redis.ts'
import type { DelayedTask, Inspection, RunningTask, ScheduleState } from '../../named/inspection.ts'
import type { StoredQueue } from '../queue.ts'

/** BullMQ keeps the time of a delayed job in the upper bits of its score, and an order within the ms in the others. */
const SCORES_A_MS = 0x1000

export async function inspect (queue: StoredQueue, redis: IoRedis, name: string, limit: number): Promise<Inspection> {
  const [running, delayed, schedules] = await Promise.all([
    readRunning(queue, redis, name, limit),
    readDelayed(queue, redis, name, limit),
    readSchedules(queue, name, limit)
  ])
  return { running, delayed, schedules }
}

async function readRunning (queue: StoredQueue, redis: IoRedis, name: string, limit: number): Promise<RunningTask[]> {
  const { jobs } = queue
  const ids = await queue.ask(name, () => jobs.getRanges(['active'], 0, limit - 1))
  const tasks = await Promise.all(ids.map(async (jobId): Promise<RunningTask | undefined> => {
    const [ownId, process, attempts, startedAt] = await queue.ask(name, () =>
      redis.hmget(jobs.toKey(jobId), 'deid', 'pb', 'atm', 'processedOn'))
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

async function readDelayed (queue: StoredQueue, redis: IoRedis, name: string, limit: number): Promise<DelayedTask[]> {
  const { jobs } = queue
  const found = await queue.ask(name, () => redis.zrange(jobs.toKey('delayed'), 0, limit - 1, 'WITHSCORES'))
  const ids = found.filter((_, index) => index % 2 === 0)
  return await Promise.all(ids.map(async (jobId, index): Promise<DelayedTask> => {
    const [ownId, attempts, message] = await queue.ask(name, () =>
      redis.hmget(jobs.toKey(jobId), 'deid', 'atm', 'failedReason'))
    return {
      id: `${name}:${ownId ?? jobId}`,
      attempts: Number(attempts ?? 0),
      runsAt: Math.floor(Number(found[2 * index + 1]) / SCORES_A_MS),
      message: message ?? undefined
    }
  }))
}

async function readSchedules (queue: StoredQueue, name: string, limit: number): Promise<ScheduleState[]> {
  const found = await queue.ask(name, () => queue.jobs.getJobSchedulers(0, limit - 1, true))
  return found.map(({ key, every, pattern = '', tz, next }) => ({
    id: key,
    schedule: every === undefined ? { cron: pattern, ...tz !== undefined && { timezone: tz } } : { every },
    nextAt: Number(next)
  }))
}
