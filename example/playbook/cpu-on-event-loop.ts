// CPU on the event loop: whoever computes on it makes everybody wait.
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { hash } from '../passwords/scrypt.ts'

const schema = { body: Type.Object({ password: Type.String({ maxLength: 128 }) }) }

/**
 * BAD. A hash takes 80 ms in which this process does nothing else: no other request is read, no answer sent, no timer
 * fires, and the health check fails with the rest. Twelve logins a second are all it will ever do, however many CPUs
 * the machine has. `async` doesn't help: the function has no await in it.
 */
export const bad: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/hash', { schema }, async (request) => ({ hash: hash(request.body.password) }))
}

/** GOOD. The same function on a thread; the event loop goes on turning. */
export const good: FastifyPluginAsyncTypebox = async (app) => {
  app.post('/hash', { schema }, async (request) => ({ hash: await app.workers.run('password', request.body) }))
}
