import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { HASH } from '../passwords/scrypt.ts'

// A bound on what is hashed: the length of a password must not decide how long a thread is busy.
const Password = Type.String({ minLength: 8, maxLength: 128 })

const passwords: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/passwords', {
    bodyLimit: 4 * 1024,
    schema: {
      body: Type.Object({ password: Password }, { additionalProperties: false }),
      response: { 200: Type.Object({ hash: Type.String() }) }
    }
  }, async ({ body }) => ({ hash: await app.workers.run('password', body) }))

  app.post('/passwords/verify', {
    bodyLimit: 4 * 1024,
    schema: {
      body: Type.Object({ password: Password, hash: Type.String({ pattern: HASH, maxLength: 128 }) }, { additionalProperties: false }),
      response: { 200: Type.Object({ matches: Type.Boolean() }) }
    }
  }, async ({ body }) => ({ matches: await app.workers.run('verifyPassword', body) }))
}

export default passwords
