import { defineJobs, type JobContext } from 'fastify-concurrency/jobs'
export function primes (limit: number, context: Pick<JobContext, 'throwIfAborted'>): number[] {
  const found: number[] = []
  for (let n = 2; n <= limit; n++) {
    context.throwIfAborted()
    if (found.every((prime) => n % prime !== 0)) found.push(n)
  }
  return found
}
export const jobs = defineJobs(import.meta.url, { primes })
declare module 'fastify-concurrency' { interface Register { jobs: typeof jobs } }
