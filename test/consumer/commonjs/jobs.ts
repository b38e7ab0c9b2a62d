import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(__filename, {
  triple: { load: () => import('./jobs/triple.js') }
})
