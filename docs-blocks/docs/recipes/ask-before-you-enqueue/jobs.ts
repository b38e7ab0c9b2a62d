// jobs.ts
import { defineJobs } from 'fastify-concurrency/jobs'

function countWords (text: string): number {
  return text.split(/\s+/).filter((word) => word !== '').length
}

export const jobs = defineJobs(import.meta.url, { countWords })

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }
}
