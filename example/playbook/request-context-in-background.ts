// The request's context in a background task: what outlives the request must not be cancelled with it.
import type { FastifyPluginAsync } from 'fastify'
import type { Options } from './raw-promise.ts'

/**
 * BAD. "Pass the context on" is right for the answer's own work. The mail is not: the order is written, and a client that hangs up
 * too early takes its confirmation with it.
 */
export const bad: FastifyPluginAsync<Options> = async (app, { send }) => {
  app.post('/orders', async (request, reply) => {
    app.tasks.submit(`order-mail:${request.id}`, () => send(request.disconnected))
    return reply.code(202).send()
  })
}

/** GOOD. A task has its own signal: its deadline, or the end of a shutdown. The request's id it keeps, for the log. */
export const good: FastifyPluginAsync<Options> = async (app, { send }) => {
  app.post('/orders', async (request, reply) => {
    app.tasks.submit(`order-mail:${request.id}`, ({ signal }) => send(signal))
    return reply.code(202).send()
  })
}
