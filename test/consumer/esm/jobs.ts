import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(import.meta.url, {
  triple: { load: () => import('./jobs/triple.ts') }
})
