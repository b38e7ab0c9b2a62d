// What defineJobs() accepts.
import { defineJobs, type JobContext, type Jobs } from 'fastify-concurrency/jobs'
import { holds, type Equal } from './equal.ts'
import { jobs } from './jobs.ts'

const load = async () => import('./jobs/length.ts')

export const anyJobs: Jobs = jobs

defineJobs(import.meta.url, { length: { load, timeout: 1_000, concurrency: 2, priority: 'low' } })
// @ts-expect-error: misspelt
defineJobs(import.meta.url, { length: { load, timout: 1_000 } })
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

export function job (payload: number, context: JobContext): number {
  holds<Equal<typeof context.signal, AbortSignal>>()
  context.log.info({ payload }, 'started')
  context.log.warn('slow')
  context.progress(0.5)
  // @ts-expect-error: read only
  context.deadline = 1
  return context.aborted ? 0 : payload
}
