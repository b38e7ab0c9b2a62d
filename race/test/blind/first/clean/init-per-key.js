// Eppo-exp/js-client-sdk#145: concurrent calls of init with one key get one promise, which is deleted when it is done.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const initializing = new Map()
  const clients = new Map()

  async function exclusiveInit (key) {
    await sleep(2)
    const client = { key, flags: { beta: true } }
    clients.set(key, client)
    return client
  }

  async function init (key) {
    const known = clients.get(key)
    if (known) return known
    const promise = initializing.get(key) ?? exclusiveInit(key)
    if (!initializing.has(key)) initializing.set(key, promise)
    const client = await promise
    initializing.delete(key)
    return client
  }

  app.get('/flag/:key', async ({ params: { key } }) => ({ beta: (await init(key)).flags.beta }))
  return app
}

export const requests = ['/flag/k', '/flag/k', '/flag/other']
