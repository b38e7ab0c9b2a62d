import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './tasks.ts'
declare const app: FastifyInstance
interface User { id: number, email: string }
declare function createUser (body: unknown): Promise<User>
declare function sendWelcome (to: string, options: { signal: AbortSignal }): Promise<void>
declare function search (q: string, options: { signal: AbortSignal }): Promise<string[]>
import type {} from './tasks.ts'

await app.tasks.schedule('welcome', { cron: '0 9 * * 1', timezone: 'Europe/Berlin' }, { to: 'team@example.com' })
await app.tasks.schedule('welcome', { every: 60_000 }, { to: 'pulse@example.com' }, { id: 'pulse' })
await app.tasks.unschedule('welcome', { id: 'pulse' })
export {}
