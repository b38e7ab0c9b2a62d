// jobs.ts
import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(import.meta.url, {
  primes: { load: () => import('./jobs/primes.ts'), timeout: 5_000 }
})

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }   // gives app.workers its types
}
