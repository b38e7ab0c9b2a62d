import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

const flights = new Map()

async function search (user, q) {
  const flight = { q, isStale: false }
  flights.set(user, flight)
  await wait(1)
  if (flights.get(user) !== flight) return null
  flights.delete(user)
  return `results for ${q}`
}

export const requests = ['/search?user=ada&q=a', '/search?user=bob&q=b']

export function build () {
  const app = Fastify()
  app.get('/search', async (request, reply) => {
    const results = await search(request.query.user, request.query.q)
    return results === null ? reply.code(409).send() : { results }
  })
  return app
}
