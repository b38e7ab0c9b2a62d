// jobs.ts
import { defineJobs } from 'fastify-concurrency/jobs'

function primes (limit: number): number[] {
  const found: number[] = []
  for (let n = 2; n <= limit; n++) {
    if (found.every((prime) => n % prime !== 0)) found.push(n)
  }
  return found
}

export const jobs = defineJobs(import.meta.url, { primes })

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }   // gives app.workers its types
}
