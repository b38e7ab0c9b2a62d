// jobs.ts
import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(import.meta.url, {
  thumbnail: { load: () => import('./thumbnail.ts'), timeout: 10_000 }
})

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }
}
