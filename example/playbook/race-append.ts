// A list that requests add to, with room for a few.
import type { FastifyPluginAsync } from 'fastify'
import { shared } from 'fastify-concurrency-race'
import type { Options } from './race-counter.ts'

/** BAD. The list is copied, and put back with one more: what others have added since is gone. Go's `append` of a shared slice. */
export const bad: FastifyPluginAsync<Options> = async (app, { call }) => {
  const event = shared<{ guests: string[] }>({ guests: [] }, 'event')
  app.get('/', async (request) => {
    const guests = [...event.guests]
    await call()
    event.guests = [...guests, request.id]
    return event.guests.length
  })
}

/** GOOD. `push()` adds to the list that is there. If there is room for a few only, the test stands in the same turn. */
export const good: FastifyPluginAsync<Options> = async (app, { call }) => {
  const event = shared<{ guests: string[] }>({ guests: [] }, 'event')
  app.get('/', async (request) => {
    await call()
    return event.guests.push(request.id)
  })
}
