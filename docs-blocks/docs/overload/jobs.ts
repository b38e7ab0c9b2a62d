import { defineJobs } from 'fastify-concurrency/jobs'
export const jobs = defineJobs(import.meta.url, { thumbnail: (size: number) => size })
declare module 'fastify-concurrency' { interface Register { jobs: typeof jobs } }
