// jobs.ts
import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(import.meta.url, {
  add: { load: () => import('./worker.ts') },
  upper: { load: async () => (await import('./worker.ts')).upper }   // a named export: piscina's option name
})

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }
}
