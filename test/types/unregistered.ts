// An application that didn't say which jobs it has: names aren't checked, payloads and results are unknown, never any.
import Fastify from 'fastify'
import type { JobName, JobPayload, JobResult, RunOptions } from 'fastify-concurrency'
import type { Jobs } from 'fastify-concurrency/jobs'
import type {} from 'fastify-concurrency/workers'
import { holds, type Equal } from './equal.ts'

const app = Fastify()

holds<Equal<JobName<Jobs>, string>>()
holds<Equal<JobPayload<Jobs, 'thumbnail'>, unknown>>()
holds<Equal<JobResult<Jobs, 'thumbnail'>, unknown>>()

const options: RunOptions = { timeout: 1_000 }
const result = app.workers.run('thumbnail', { width: 100 }, options)
holds<Equal<typeof result, Promise<unknown>>>()
const results = app.workers.map('thumbnail', [1, 2])
holds<Equal<typeof results, Promise<unknown[]>>>()
await Promise.all([result, results])

// @ts-expect-error: a name all the same
void app.workers.run(1)
// @ts-expect-error: misspelt
void app.workers.run('thumbnail', {}, { timout: 1_000 })
