import { defineJobs } from 'fastify-concurrency/jobs'
export const jobs = defineJobs(import.meta.url, { report: (id: string) => ({ id }) })
declare module 'fastify-concurrency' { interface Register { jobs: typeof jobs } }
