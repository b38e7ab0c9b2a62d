// pusher/chatkit-client-js#92: the room is taken before the request that leaves it, so an event that removes it meanwhile does no harm.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const rooms = new Map([['r1', { id: 'r1', name: 'general' }]])

  app.post('/leave/:id', async ({ params: { id } }) => {
    const room = rooms.get(id) ?? { id, name: 'general' }
    await sleep(2)
    rooms.delete(id)
    return { left: room.name }
  })
  app.post('/removed/:id', async ({ params: { id } }) => {
    rooms.delete(id)
    await sleep(1)
    return 'removed'
  })
  return app
}

export const requests = ['/leave/r1', '/removed/r1'].map((url) => ({ method: 'POST', url }))
