// after: jobs.ts
import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(import.meta.url, {
  add: { load: () => import('./worker.ts'), timeout: 1_000 }
})

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }
}
