import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './tasks.ts'
declare const app: FastifyInstance
interface User { id: number, email: string }
declare function createUser (body: unknown): Promise<User>
declare function sendWelcome (to: string, options: { signal: AbortSignal }): Promise<void>
declare function search (q: string, options: { signal: AbortSignal }): Promise<string[]>
import suite from 'fastify-concurrency'
import { tasks as definitions } from './tasks.ts'

await app.register(suite, {
  redis: process.env['REDIS_URL'] ?? 'redis://localhost',
  tasks: { tasks: definitions, consume: process.env['ROLE'] !== 'web' }
})
export {}
