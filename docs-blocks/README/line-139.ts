import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
declare const app: FastifyInstance
declare function sendWelcome (to: string, options: { signal: AbortSignal }): Promise<void>
declare function search (q: string, options: { signal: AbortSignal }): Promise<string[]>
import Fastify from 'fastify'
import limiter from 'fastify-concurrency/limiter'

const service = Fastify({ trustProxy: ['10.0.0.0/8'] })
await service.register(limiter, {
  policies: {
    service: { rate: 500, burst: 1_000, expose: false },   // one token bucket for all
    client: { rate: 10, burst: 20, key: 'address' }        // one for each client
  }
})
export {}
