import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

let client = null
let connections = 0

async function connect () {
  await wait(2)
  return { id: ++connections }
}

async function getClient () {
  if (!client) {
    client = await connect()
  }
  return client
}

export const requests = ['/', '/']

export const build = () => {
  const app = Fastify()
  app.get('/', async () => ({ client: (await getClient()).id }))
  return app
}
