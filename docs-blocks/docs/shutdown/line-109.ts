import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './app.ts'
declare const app: FastifyInstance
declare const db: { ping: (options: { signal: AbortSignal }) => Promise<void> }
import Fastify from 'fastify'
import concurrency from 'fastify-concurrency'

const service = Fastify()
await service.register(concurrency, {
  lifecycle: { readyPath: '/ready', livePath: '/live', ready: [async function database (signal) { await db.ping({ signal }) }] }
})
export {}
