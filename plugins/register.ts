/**
 * Where an application says which jobs (and, with their plugins, policies and tasks) it has, so that the decorators are typed:
 *
 * @example
 * declare module 'fastify-concurrency' {
 *   interface Register { jobs: typeof jobs }
 * }
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- empty on purpose: applications augment it
export interface Register {}
