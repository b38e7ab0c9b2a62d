import Fastify from 'fastify'
import fp from 'fastify-plugin'
import { setTimeout as wait } from 'node:timers/promises'

const stats = fp(async (app) => {
  app.decorate('stats', { total: 0, slowest: 0 })
})

export const requests = ['/work', '/work']

export async function build () {
  const app = Fastify()
  await app.register(stats)
  app.get('/work', async (request) => {
    const { total } = request.server.stats
    await wait(1)
    request.server.stats.total = total + 1
    return 'done'
  })
  return app
}
