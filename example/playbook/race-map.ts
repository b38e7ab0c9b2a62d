// A Map that requests fill: who may have a name.
import type { FastifyPluginAsync } from 'fastify'
import { shared } from 'fastify-concurrency-race'
import type { Options } from './race-counter.ts'

/** BAD. Two requests find the name free, and both get it. */
export const bad: FastifyPluginAsync<Options> = async (app, { call }) => {
  const owners = shared(new Map<string, string>(), 'owners')
  app.get('/', async (request, reply) => {
    if (owners.has('ada')) return reply.code(409).send()
    await call()
    owners.set('ada', request.id)
    return 'yours'
  })
}

/** GOOD. A lock of that name alone: requests for other names don't wait. */
export const good: FastifyPluginAsync<Options> = async (app, { call }) => {
  const owners = shared(new Map<string, string>(), 'owners')
  app.get('/', async (request, reply) => app.locks.mutex('ada').runExclusive(async () => {
    if (owners.has('ada')) return reply.code(409).send()
    await call()
    owners.set('ada', request.id)
    return 'yours'
  }))
}
