// A flag that lets one request at a time do something.
import type { FastifyPluginAsync } from 'fastify'
import { shared } from 'fastify-concurrency-race'
import type { Options } from './race-counter.ts'

/** BAD. Every request that comes before the first has set the flag finds it unset, and all of them import. */
export const bad: FastifyPluginAsync<Options> = async (app, { call }) => {
  const state = shared({ importer: '' }, 'state')
  app.get('/', async (request, reply) => {
    if (state.importer !== '') return reply.code(409).send()
    await call()
    state.importer = request.id
    await call()
    state.importer = ''
    return 'imported'
  })
}

/** GOOD. The flag is set in the turn that tested it, and taken back on every way out. */
export const good: FastifyPluginAsync<Options> = async (app, { call }) => {
  const state = shared({ importer: '' }, 'state')
  app.get('/', async (request, reply) => {
    if (state.importer !== '') return reply.code(409).send()
    state.importer = request.id
    try {
      await call()
      return 'imported'
    } finally {
      state.importer = ''
    }
  })
}
