import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
import './tasks.ts'
declare const app: FastifyInstance
interface User { id: number, email: string }
declare function createUser (body: unknown): Promise<User>
declare function sendWelcome (to: string, options: { signal: AbortSignal }): Promise<void>
declare function search (q: string, options: { signal: AbortSignal }): Promise<string[]>
app.post('/users', async (request, reply) => {
  using place = app.tasks.reserve()   // no room: 503, before anything is written (`using`: TypeScript, or Node 24 and later)
  const user = await createUser(request.body)
  place.submit(`welcome-email:${user.id}`, ({ signal }) => sendWelcome(user.email, { signal }), {
    retries: 5,
    backoff: { base: 200, max: 800 }   // short enough for a shutdown to wait for
  })
  return reply.code(201).send(user)
})
export {}
