import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './tasks.ts'
declare const app: FastifyInstance
interface User { id: number, email: string }
declare function createUser (body: unknown): Promise<User>
declare function sendWelcome (to: string, options: { signal: AbortSignal }): Promise<void>
declare function search (q: string, options: { signal: AbortSignal }): Promise<string[]>
app.get<{ Querystring: { q: string[] } }>('/report', async (request) => {
  const group = app.tasks.group({ limit: 4 })          // aborted when the client leaves; { detached: true } opts out
  return group.map(request.query.q, (q, { signal }) => search(q, { signal }))
})
export {}
