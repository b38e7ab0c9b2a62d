// A counter: the sum is made of what was there before the wait.
import type { FastifyPluginAsync } from 'fastify'
import { shared } from 'fastify-concurrency-race'

export interface Options {
  /** A query, a call of another service. */
  call: () => Promise<void>
}

/** BAD. Two requests read the same number, and one visit is lost. */
export const bad: FastifyPluginAsync<Options> = async (app, { call }) => {
  const stats = shared({ visits: 0 }, 'stats')
  app.get('/', async () => {
    const { visits } = stats
    await call()
    stats.visits = visits + 1
    return stats.visits
  })
}

/** GOOD. One expression after the last `await` reads and writes: nothing runs in between. */
export const good: FastifyPluginAsync<Options> = async (app, { call }) => {
  const stats = shared({ visits: 0 }, 'stats')
  app.get('/', async () => {
    await call()
    return ++stats.visits
  })
}
