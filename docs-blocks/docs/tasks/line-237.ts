import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './tasks.ts'
declare const app: FastifyInstance
interface User { id: number, email: string }
declare function createUser (body: unknown): Promise<User>
declare function sendWelcome (to: string, options: { signal: AbortSignal }): Promise<void>
declare function search (q: string, options: { signal: AbortSignal }): Promise<string[]>
import type {} from './tasks.ts'

for (const { id, error, attempts } of await app.tasks.failed('welcome')) console.log(id, error.message, attempts)
await app.tasks.retry('welcome', 'welcome:a@example.com')
export {}
