// jobs.ts
import { defineJobs, type JobContext } from 'fastify-concurrency/jobs'

function report (parts: number, context: JobContext): { total: number } {
  let total = 0
  for (let part = 1; part <= parts; part++) {
    context.throwIfAborted()
    for (let n = 0; n < 1_000_000; n++) total += n % part      // the work
    context.progress({ part, of: parts })
  }
  return { total }
}

export const jobs = defineJobs(import.meta.url, {
  report: { load: async () => report, timeout: 60_000, concurrency: 1, priority: 'low' }
})

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }
}
