import { definePolicies } from 'fastify-concurrency/limiter'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import concurrency from 'fastify-concurrency'
import limiter from 'fastify-concurrency/limiter'
import { policies } from './policies.ts'
const app = Fastify()
declare function search (request: FastifyRequest, reply: FastifyReply): Promise<string[]>
declare function thumbnails (request: FastifyRequest, reply: FastifyReply): Promise<Buffer>
declare function healthz (request: FastifyRequest, reply: FastifyReply): Promise<string>
import { once } from 'node:events'
import { Redis } from 'ioredis'

const redis = new Redis(process.env['REDIS_URL'] ?? 'redis://localhost', { enableOfflineQueue: false, connectTimeout: 500, maxRetriesPerRequest: 1, disconnectTimeout: 100 })
redis.on('error', (err) => app.log.warn({ err }, 'Redis'))
app.addHook('onClose', () => { redis.disconnect() })
await once(redis, 'ready', { signal: AbortSignal.timeout(2_000) }).catch(() => {})   // if Redis is away, onStoreError decides

await app.register(limiter, { policies, redis })
export {}
