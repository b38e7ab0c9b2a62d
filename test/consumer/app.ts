// A service with one job: starts, runs it for a request, closes, and must end by itself.
import assert from 'node:assert/strict'
import { threadId } from 'node:worker_threads'
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'
import { assertIdle } from 'fastify-concurrency/testing'
import { jobs } from './jobs.ts'

declare module 'fastify-concurrency' {
  interface Register { jobs: typeof jobs }
}

async function main (): Promise<void> {
  const app = Fastify()
  await app.register(concurrency, { workers: { jobs, maxThreads: 1 } })

  app.post<{ Body: { n: number } }>('/', async (request) => {
    const result = await app.workers.run('triple', request.body)
    const tripled: number = result.tripled
    return { tripled, threadId: result.threadId }
  })

  // @ts-expect-error: no such job
  await assert.rejects(app.workers.run('treble', { n: 1 }), { code: 'FC_ERR_JOB_UNKNOWN' })
  // @ts-expect-error: of another type
  const wrong = app.workers.run('triple', { n: '1' })
  await wrong

  const response = await app.inject({ method: 'POST', url: '/', payload: { n: 14 } })
  const body: { tripled: number, threadId: number } = response.json()
  assert.equal(body.tripled, 42)
  assert.notEqual(body.threadId, threadId)

  const report = await app.lifecycle.shutdown('done')
  assert.deepEqual(report.unfinished, [])
  await assertIdle(app)
}

void main().catch((error: unknown) => {
  console.error(error)
  process.exit(1)
})
