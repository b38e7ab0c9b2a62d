/**
 * Where an application says which jobs (and, with their plugins, policies and tasks) it has, so that the decorators are typed:
 *
 * @example
 * declare module 'fastify-concurrency' {
 *   interface Register { jobs: typeof jobs }
 * }
 */

export interface Register {}
