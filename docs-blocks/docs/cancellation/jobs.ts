// jobs.ts
import { defineJobs, type JobContext } from 'fastify-concurrency/jobs'

function count (limit: number, context: JobContext): number {
  let sum = 0
  for (let n = 0; n < limit; n++) {
    if (n % 10_000 === 0) context.throwIfAborted()       // a loop: check now and then
    sum += n
  }
  return sum
}

async function copy (url: string, context: JobContext): Promise<number> {
  const response = await fetch(url, { signal: context.signal })   // asynchronous code: pass the signal on
  return (await response.arrayBuffer()).byteLength
}

export const jobs = defineJobs(import.meta.url, {
  count,
  copy
})

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }
}
