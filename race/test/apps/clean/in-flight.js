import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

const loading = new Map()
const users = new Map()

async function load (id) {
  await wait(2)
  return { id, name: `user ${id}` }
}

function getUser (id) {
  const cached = users.get(id)
  if (cached) return cached
  let promise = loading.get(id)
  if (!promise) {
    promise = load(id).then((user) => {
      users.set(id, user)
      return user
    }).finally(() => loading.delete(id))
    loading.set(id, promise)
  }
  return promise
}

export const requests = ['/users/1', '/users/1', '/users/2']

export function build () {
  const app = Fastify()
  app.get('/users/:id', async (request) => getUser(request.params.id))
  return app
}
