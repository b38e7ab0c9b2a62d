// jobs/primes.ts
import type { JobContext } from 'fastify-concurrency/jobs'

export default function primes (limit: number, context: JobContext): number[] {
  const found: number[] = []
  for (let n = 2; n <= limit; n++) {
    if (n % 1_000 === 0) context.throwIfAborted()   // the client has left, or the deadline has passed: a check costs some nanoseconds
    if (found.every((prime) => n % prime !== 0)) found.push(n)
  }
  return found
}
