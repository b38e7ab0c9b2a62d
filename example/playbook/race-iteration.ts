// A walk over a list that others change meanwhile.
import type { FastifyPluginAsync } from 'fastify'
import { shared } from 'fastify-concurrency-race'
import type { Options } from './race-counter.ts'

/** BAD. What stands behind a removed listener moves down by one, and the walk skips it. */
export const bad: FastifyPluginAsync<Options> = async (app, { call }) => {
  const listeners = shared(['a', 'b', 'c', 'd'], 'listeners')
  app.get('/', async () => {
    const told: string[] = []
    for (const listener of listeners) {
      await call()
      told.push(listener)
    }
    listeners.shift()
    return told
  })
}

/** GOOD. The walk is over a copy. */
export const good: FastifyPluginAsync<Options> = async (app, { call }) => {
  const listeners = shared(['a', 'b', 'c', 'd'], 'listeners')
  app.get('/', async () => {
    const told: string[] = []
    for (const listener of [...listeners]) {
      await call()
      told.push(listener)
    }
    listeners.shift()
    return told
  })
}
