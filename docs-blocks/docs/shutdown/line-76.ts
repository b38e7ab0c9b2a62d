import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './app.ts'
declare const app: FastifyInstance
declare const db: { ping: (options: { signal: AbortSignal }) => Promise<void> }
const report = await app.lifecycle.shutdown('deploy')
report.reason       // 'deploy'
report.completed    // requests, tasks and jobs that finished after `delay`, while draining
report.unfinished   // [{ kind, name, id, ageMs, attempt }]
report.durationMs
export {}
