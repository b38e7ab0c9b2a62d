// expressjs/session#143: the session is handed to the template by the reply of its own request.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const stats = { rendered: 0 }
  app.decorateRequest('session', null)
  app.decorateReply('view', null)
  app.addHook('preHandler', async (request, reply) => {
    const session = { token: request.headers.authorization }
    request.session = session
    reply.view = async (name) => {
      await sleep(1)
      stats.rendered++
      return `${name}: ${session.token}`
    }
  })
  app.get('/page', async (request, reply) => reply.view('page'))
  return app
}

export const requests = ['ann', 'bob'].map((authorization) => ({ url: '/page', headers: { authorization } }))
