import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'

// Whoever measures the service asks both again and again: that must not use up what a client may do.
const config = { limiter: false } as const

const status: FastifyPluginAsyncTypebox = async (app) => {
  /** Costs nothing: how fast it answers says how free the event loop is. */
  app.get('/ping', {
    config,
    schema: { response: { 200: Type.Object({ pong: Type.Literal(true) }) } }
  }, async () => ({ pong: true as const }))

  /** What the pool does now and has done so far. */
  app.get('/stats', { config }, async () => app.workers.stats())
}

export default status
