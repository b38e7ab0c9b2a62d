import { defineJobs } from 'fastify-concurrency/jobs'
export const jobs = defineJobs(import.meta.url, {
  password: (password: string) => password.length.toString(),
  search: (q: string) => [q]
})
declare module 'fastify-concurrency' { interface Register { jobs: typeof jobs } }
