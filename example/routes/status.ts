import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'

const status: FastifyPluginAsyncTypebox = async (app) => {
  /** Costs nothing: how fast it answers says how free the event loop is. */
  app.get('/ping', {
    schema: { response: { 200: Type.Object({ pong: Type.Literal(true) }) } }
  }, async () => ({ pong: true as const }))

  /** What the pool does now and has done so far. */
  app.get('/stats', async () => app.workers.stats())
}

export default status
