// matrix-org/matrix-appservice-bridge#472: whether a user may see a widget is cached, and the cache is cleared when the membership changes.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const members = new Set(['ann'])
  const allowed = new Map()
  let changes = 0

  app.get('/widget/:user', async ({ params: { user } }, reply) => {
    let isMember = allowed.get(user)
    if (isMember === undefined) {
      const before = changes
      await sleep(1)
      isMember = members.has(user)
      if (before === changes) allowed.set(user, isMember)
    }
    return isMember ? 'widget' : reply.code(429).send('join first')
  })
  app.post('/join/:user', async ({ params: { user } }) => {
    members.add(user)
    changes++
    allowed.delete(user)
    await sleep(1)
    return 'joined'
  })
  return app
}

export const requests = ['/widget/ann', { method: 'POST', url: '/join/bob' }, '/widget/ann']
