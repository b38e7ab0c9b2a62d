import type { FastifySchema } from 'fastify'

/** Returns the schema of a route of the suite's own, which @fastify/swagger leaves out of the application's API. */
export function hidden (): FastifySchema {
  return { hide: true } as FastifySchema
}
