import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './jobs.ts'
declare const app: FastifyInstance
const result = await app.workers.run('primes', 10_000)
const results = await app.workers.map('primes', [10, 100, 1_000])   // in this order; the first error aborts the rest
await app.workers.idle()                                            // resolves when no job runs or waits: in tests, instead of a sleep
const isFree = app.workers.canRun('primes')                         // would run() admit a job now? Nothing is reserved
const stats = app.workers.stats()                                   // threads, running, waiting; for each job: counts and percentiles
export {}
