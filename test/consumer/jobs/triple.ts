import { threadId } from 'node:worker_threads'
import type { JobContext } from 'fastify-concurrency/jobs'

export default async function triple (payload: { n: number }, context: JobContext): Promise<{ tripled: number, threadId: number }> {
  context.throwIfAborted()
  return { tripled: payload.n * 3, threadId }
}
