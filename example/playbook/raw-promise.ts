// Raw promise in a handler: work that nobody holds is work that nobody bounds, awaits or sees fail.
import type { FastifyPluginAsync } from 'fastify'

export interface Options {
  /** Something slow elsewhere: a mail, a webhook. */
  send: (signal?: AbortSignal) => Promise<void>
}

/**
 * BAD. The answer is fast, and that is all. A thousand requests are a thousand sends at once; a shutdown ends the process under them,
 * mails half sent; and the `catch` is easily forgotten, which ends the process by itself.
 */
export const bad: FastifyPluginAsync<Options> = async (app, { send }) => {
  app.post('/orders', async (request, reply) => {
    send().catch((error: unknown) => request.log.error(error))
    return reply.code(202).send()
  })
}

/** GOOD. Bounded, refused with a 503 when there is no room, logged with its id, finished before the process ends. */
export const good: FastifyPluginAsync<Options> = async (app, { send }) => {
  app.post('/orders', async (request, reply) => {
    app.tasks.submit(`order-mail:${request.id}`, ({ signal }) => send(signal))
    return reply.code(202).send()
  })
}
