/** The jobs that run now, as the page shows them, and their cancellation. Pools are known by the names of their decorators. */
import { countsOf, type RunningJob } from '../core/ledger/counts.ts'

export interface ShownJob extends Pick<RunningJob, 'id' | 'name' | 'runMs' | 'aborted'> {
  pool: string
  /** A digest of the job's key, or the key itself; empty without one. */
  client: string
  /** From 0 to 1, if the job reports it. */
  done: number | undefined
  /** What else the job reports, shortened. */
  doing: string | undefined
  requestId: string | undefined
}

/** The most jobs that the page lists. A longer list is of no use, and each page would receive it every second. */
const MAX_SHOWN = 50

/** @param nameOf names a key for the page */
export function runningJobs (server: object, nameOf: (key: string) => string): ShownJob[] {
  return countsOf(server).views()
    .flatMap(({ pool, view }) => view.running().map((job) => ({ pool, ...job })))
    .sort((a, b) => b.runMs - a.runMs)
    .slice(0, MAX_SHOWN)
    .map(({ progress, ageMs, runMs, requestId, key, ...job }) => ({
      ...job,
      client: nameOf(key),
      runMs: Math.round(runMs),
      requestId: requestId === undefined ? undefined : shortened(requestId),
      ...progressOf(progress)
    }))
}

/** Returns the name of the job that was cancelled, or undefined if there is no such job any more. */
export function cancelJob (server: object, pool: string, id: string): string | undefined {
  const views = countsOf(server).views().filter((each) => each.pool === pool).map(({ view }) => view)
  const job = views.flatMap((view) => view.running()).find((running) => running.id === id)
  return views.some((view) => view.cancel(id)) ? job?.name ?? id : undefined
}

/** Fastify's requestIdHeader lets the client choose a request's id, and genReqId may return what can't be made a string. */
function shortened (requestId: unknown): string | undefined {
  try {
    return String(requestId).slice(0, 40)
  } catch {
    return undefined
  }
}

/** A job may report anything: a share, an object with a share as `done` or `progress`, or a text. */
export function progressOf (value: unknown): Pick<ShownJob, 'done' | 'doing'> {
  if (typeof value === 'number') return { done: shareOf(value), doing: shareOf(value) === undefined ? String(value) : undefined }
  if (typeof value === 'string') return { done: undefined, doing: value.slice(0, 80) }
  if (typeof value !== 'object' || value === null) return { done: undefined, doing: undefined }
  const { done, progress, stage, message } = value as Record<string, unknown>
  const doing = [stage, message].find((text) => typeof text === 'string')
  return { done: shareOf(done) ?? shareOf(progress), doing: doing?.slice(0, 80) }
}

function shareOf (value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 && value <= 1 ? Math.round(value * 100) / 100 : undefined
}
