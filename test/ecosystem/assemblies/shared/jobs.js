import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(import.meta.url, {
  work: { load: () => import('./job.js'), timeout: Infinity }
})
