import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './jobs.ts'
declare const app: FastifyInstance
app.get('/count', async (request) => app.workers.run('count', 1_000_000, { request }))   // also with ambient: false
export {}
