import type { JobContext } from 'fastify-concurrency/jobs'

/** A job as it should not be: it takes memory until its thread is ended. The process and the other threads go on. */
export default function hungry (_: undefined, context: JobContext): number {
  const eaten: string[][] = []
  for (;;) {
    eaten.push(Array.from({ length: 100_000 }, (_, index) => `${eaten.length} ${index}`))
    context.progress(`${eaten.length * 100_000} strings`)
  }
}
