// abhishekkumar177/College_Media#465: an update names the version that it has seen, and gets 409 if there is a newer one.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const users = new Map([['u1', { bio: '', __v: 0 }]])

  app.put('/users/:id', async ({ params: { id }, body }, reply) => {
    const seen = users.get(id).__v
    await sleep(2)
    const user = users.get(id)
    if (user.__v !== seen) return reply.code(409).send({ error: 'CONCURRENT_UPDATE_CONFLICT' })
    users.set(id, { ...user, ...body, __v: seen + 1 })
    return { updated: true }
  })
  return app
}

export const requests = ['x', 'y'].map((bio) => ({ method: 'PUT', url: '/users/u1', body: { bio } }))
