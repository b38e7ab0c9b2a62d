import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'

const webhooks: FastifyPluginAsyncTypebox = async (app) => {
  // 202 says that the event will be handled; when there is no room the sender hears 503 and when to come back.
  app.post('/webhooks', {
    bodyLimit: 64 * 1024,
    schema: {
      body: Type.Object({
        id: Type.String({ minLength: 1, maxLength: 128 }),
        type: Type.String({ minLength: 1, maxLength: 64 }),
        data: Type.Optional(Type.Unknown())
      }),
      response: { 202: Type.Object({ accepted: Type.String() }) }
    }
  }, async ({ body: { id, type, data = null } }, reply) => {
    // Senders repeat what they aren't sure of: a second delivery joins the first while that is there.
    await app.tasks.enqueue('webhook', { id, type, data }, { id, duplicate: 'join' })
    return reply.code(202).send({ accepted: id })
  })
}

export default webhooks
