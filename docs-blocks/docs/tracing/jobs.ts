import './otel.ts'
import { trace } from '@opentelemetry/api'
import { defineJobs } from 'fastify-concurrency/jobs'

function primes (limit: number): number {
  return trace.getTracer('jobs').startActiveSpan('sieve', (span) => {
    const isComposite = new Uint8Array(limit)
    let count = 0
    for (let n = 2; n < limit; n++) {
      if (isComposite[n] === 1) continue
      count++
      for (let multiple = n * n; multiple < limit; multiple += n) isComposite[multiple] = 1
    }
    span.end()
    return count
  })
}

export const jobs = defineJobs(import.meta.url, { primes })
