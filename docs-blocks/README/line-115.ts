import type { FastifyInstance } from 'fastify'
import 'fastify-concurrency'
declare const app: FastifyInstance
declare function sendWelcome (to: string, options: { signal: AbortSignal }): Promise<void>
declare function search (q: string, options: { signal: AbortSignal }): Promise<string[]>
import closeWithGrace from 'close-with-grace'

// A task outlives its request: bounded, retried, and finished, or named as given up, before the process ends.
app.post<{ Body: { email: string } }>('/users', async (request, reply) => {
  app.tasks.submit(`welcome:${request.id}`, ({ signal }) => sendWelcome(request.body.email, { signal }), {
    retries: 5,
    backoff: { base: 200, max: 800 }   // short enough for a shutdown to wait for
  })
  return reply.code(201).send()
})

// A group is parallel work inside a request: the first error, or the client's leaving, aborts the rest.
app.get<{ Querystring: { q: string[] } }>('/search', async (request) => {
  return app.tasks.group({ limit: 4 }).map(request.query.q, (q, { signal }) => search(q, { signal }))
})

// A shutdown finishes requests, then tasks, then jobs, and then closes the application.
closeWithGrace({ delay: 10_000, logger: app.log }, ({ signal, err }) => {
  if (err !== undefined) app.log.fatal({ err }, 'uncaught error')
  return app.lifecycle.shutdown(signal ?? err?.message)
})
export {}
