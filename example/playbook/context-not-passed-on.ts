// Context not passed on: work whose client has left is work for nobody.
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'

const schema = { querystring: Type.Object({ q: Type.String({ maxLength: 64 }) }) }

/**
 * BAD. What every bare pool does: the job knows nothing of the request that wanted it. Clients time out, leave and try
 * again, and each attempt occupies a thread to its end, so that an overload feeds itself.
 */
export const bad: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/search', { schema }, async (request) =>
    app.workers.run('search', { q: request.query.q, anyOrder: true }, { detached: true }))
}

/**
 * GOOD. Inside a handler the pool knows the current request by itself. The job polls `context.aborted` (or uses
 * `context.signal`); one that does neither loses its thread after `grace`.
 */
export const good: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/search', { schema }, async (request) => app.workers.run('search', { q: request.query.q, anyOrder: true }))
}
