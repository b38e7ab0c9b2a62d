import { defineJobs } from 'fastify-concurrency/jobs'

export const jobs = defineJobs(import.meta.url, { identity: { load: () => import('./jobs/identity.mjs') } })
