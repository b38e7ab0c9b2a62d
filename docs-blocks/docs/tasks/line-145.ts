import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './tasks.ts'
declare const app: FastifyInstance
interface User { id: number, email: string }
declare function createUser (body: unknown): Promise<User>
declare function sendWelcome (to: string, options: { signal: AbortSignal }): Promise<void>
declare function search (q: string, options: { signal: AbortSignal }): Promise<string[]>
import concurrency from 'fastify-concurrency'
import { tasks } from './tasks.ts'

await app.register(concurrency, { tasks: { tasks } })

app.post<{ Body: { email: string } }>('/invitations', async (request, reply) => {
  await app.tasks.enqueue('welcome', { to: request.body.email }, { id: request.body.email, delay: 60_000, duplicate: 'join' })
  return reply.code(202).send()
})
export {}
