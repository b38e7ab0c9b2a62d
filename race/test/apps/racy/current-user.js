// The app is decorated with the user of the current request. The requests are sent by the module itself, before its last line has run.
import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

export function build () {
  const app = Fastify()
  app.decorate('user', null)
  app.get('/:user', async function ({ params: { user } }) {
    this.user = user
    await wait(1)
    return { user: this.user }
  })
  return app
}

const app = build()
await Promise.all([app.inject('/ada'), app.inject('/bob')])
await app.close()

export const requests = ['/ada', '/bob']
