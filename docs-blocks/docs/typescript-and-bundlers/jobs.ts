// jobs.ts
import { defineJobs } from 'fastify-concurrency/jobs'

const square = (n: number): number => n * n

export const jobs = defineJobs(import.meta.url, { square })

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }
}
