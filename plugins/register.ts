/**
 * Register declares the jobs, policies and tasks of an application, so that the decorators are typed.
 *
 * @example
 * declare module 'fastify-concurrency' {
 *   interface Register { jobs: typeof jobs }
 * }
 */

export interface Register {}
