// Something that is made on first use: a connection.
import type { FastifyPluginAsync } from 'fastify'
import { shared } from 'fastify-concurrency-race'
import type { Options } from './race-counter.ts'

interface State { connection?: { id: number } }

/** BAD. Every request that comes before the first connection is there makes another one, and nobody closes them. */
export const bad: FastifyPluginAsync<Options> = async (app, { call }) => {
  const state = shared<State>({}, 'state')
  let made = 0
  app.get('/', async () => {
    if (state.connection === undefined) {
      await call()
      state.connection = { id: ++made }
    }
    return state.connection.id
  })
}

/** GOOD. The first caller makes it, and the others wait for the same one. Go's `sync.Once`. */
export const good: FastifyPluginAsync<Options> = async (app, { call }) => {
  const state = shared<State>({}, 'state')
  let made = 0
  app.get('/', async () => app.locks.once('connection', async () => {
    await call()
    state.connection = { id: ++made }
    return state.connection.id
  }))
}
