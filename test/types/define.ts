// What defineJobs() accepts.
import { defineJobs, type JobContext, type Jobs } from 'fastify-concurrency/jobs'
import type { JobName, JobPayload, JobResult } from 'fastify-concurrency/workers'
import { holds, type Equal } from './equal.ts'
import { jobs } from './jobs.ts'

const load = async () => import('./jobs/length.ts')

export const anyJobs: Jobs = jobs

defineJobs(import.meta.url, { length: { load, timeout: 1_000, concurrency: 2, priority: 'low' } })
// A function as it is, beside one that only threads load.
export const mixed = defineJobs(import.meta.url, { double, job, length: { load, timeout: 1_000 }, constant: () => 1, later: async (text: string, context: JobContext) => text + context.id })
holds<Equal<JobName<typeof mixed>, 'double' | 'job' | 'length' | 'constant' | 'later'>>()
holds<Equal<JobPayload<typeof mixed, 'double'>, number>>()
holds<Equal<JobResult<typeof mixed, 'double'>, { doubled: number }>>()
holds<Equal<JobPayload<typeof mixed, 'job'>, number>>()
holds<Equal<JobPayload<typeof mixed, 'constant'>, undefined>>()
holds<Equal<JobPayload<typeof mixed, 'later'>, string>>()
holds<Equal<JobResult<typeof mixed, 'later'>, string>>()
holds<Equal<JobResult<typeof mixed, 'length'>, JobResult<typeof jobs, 'length'>>>()
// @ts-expect-error: neither a function nor a definition
defineJobs(import.meta.url, { length: 'length' })
// @ts-expect-error: not two parameters of its own
defineJobs(import.meta.url, { sum: (a: number, b: number) => a + b })
// @ts-expect-error: misspelt
defineJobs(import.meta.url, { length: { load, timout: 1_000 } })
// @ts-expect-error: misspelt, beside a function
defineJobs(import.meta.url, { double, length: { load, timout: 1_000 } })
// @ts-expect-error: no such class
defineJobs(import.meta.url, { length: { load, priority: 'urgent' } })
// @ts-expect-error: ms
defineJobs(import.meta.url, { length: { load, timeout: '1s' } })
// @ts-expect-error: nothing to load
defineJobs(import.meta.url, { length: { timeout: 1_000 } })
// @ts-expect-error: a module without a default export
defineJobs(import.meta.url, { length: { load: () => import('./jobs.ts') } })
// @ts-expect-error: the default export is no function
defineJobs(import.meta.url, { length: { load: async () => ({ default: 1 }) } })
// @ts-expect-error: loaded by the main thread
defineJobs(import.meta.url, { length: { load: (text: string) => text.length } })
// @ts-expect-error: whose module?
defineJobs({ length: { load } })

function double (n: number): { doubled: number } {
  return { doubled: 2 * n }
}

export function job (payload: number, context: JobContext): number {
  holds<Equal<typeof context.signal, AbortSignal>>()
  context.log.info({ payload }, 'started')
  context.log.warn('slow')
  context.progress(0.5)
  // @ts-expect-error: read only
  context.deadline = 1
  return context.aborted ? 0 : payload
}
