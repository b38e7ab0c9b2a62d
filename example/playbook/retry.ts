// Retry: at once and always, it turns the outage of another service into a longer one.
import type { FastifyPluginAsync } from 'fastify'

export interface Options {
  /** Rejects with an error that has a `statusCode`. */
  call: () => Promise<void>
}

/**
 * BAD. Every client of a service that stumbles calls it ten times in the same millisecond. A 400 will be a 400 nine times more.
 * Meanwhile the handler holds its connection, and a slot of whoever calls us.
 */
export const bad: FastifyPluginAsync<Options> = async (app, { call }) => {
  app.post('/webhooks', async (_request, reply) => {
    for (let attempt = 1; ; attempt++) {
      try {
        await call()
        return reply.code(202).send()
      } catch (error) {
        if (attempt === 10) throw error
      }
    }
  })
}

/** GOOD. In the background, spread by full jitter, holding no slot between attempts, and only what may yet succeed. */
export const good: FastifyPluginAsync<Options> = async (app, { call }) => {
  app.post('/webhooks', async (request, reply) => {
    app.tasks.submit(`webhook:${request.id}`, call, {
      retries: 9,
      backoff: { base: 200, max: 30_000 },
      retryIf: (error) => !('statusCode' in error && Number(error.statusCode) < 500)
    })
    return reply.code(202).send()
  })
}
