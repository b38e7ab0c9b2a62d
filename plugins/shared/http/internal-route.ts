import type { FastifySchema } from 'fastify'

/** Returns the schema of a route of the suite's own, which @fastify/swagger leaves out of the application's API. */
export function hidden (): FastifySchema {
  return { hide: true } as FastifySchema
}

/**
 * The key in the `config` of a route of the suite's own whose value is the name under which the admission of the event
 * loop counts it, together with others of the name. Otherwise the files of a page would be most of the routes.
 */
export const kCountedAs: unique symbol = Symbol('fastify-concurrency.countedAs')
