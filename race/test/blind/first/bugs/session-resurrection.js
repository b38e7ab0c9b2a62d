// auth0/nextjs-auth0#2590: a rolling session is written back after a logout has deleted it.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const sessions = new Map([['s1', { user: 'ada', touched: 0 }]])

  app.get('/page', async (request, reply) => {
    const existing = sessions.get('s1')
    if (existing === undefined) return reply.code(401).send({ error: 'no session' })
    await sleep(3) // renders
    if (isFixed && !sessions.has('s1')) return { user: existing.user }
    sessions.set('s1', { ...existing, touched: existing.touched + 1 })
    return { user: existing.user }
  })
  app.post('/logout', async () => {
    await sleep(1)
    sessions.delete('s1')
    return { out: true }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/page', { method: 'POST', url: '/logout' }]
