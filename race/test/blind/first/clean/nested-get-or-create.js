// cobaltcore-dev/aurora-dashboard#666: reported in a review as a race, though the test and the set of the inner map have no await between them.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const sessions = new Map()

  app.get('/rescope/:session/:scope', async ({ params: { session, scope } }) => {
    await sleep(1)
    if (!sessions.has(session)) sessions.set(session, new Map())
    const pending = sessions.get(session)
    if (!pending.has(scope)) pending.set(scope, sleep(2, `token for ${scope}`))
    return { token: await pending.get(scope) }
  })
  return app
}

export const requests = ['/rescope/s/a', '/rescope/s/b', '/rescope/s/a']
