/** Finds the reply of a request, which Fastify's request doesn't have. */
import type { FastifyReply as Reply } from 'fastify'
export const kReply = Symbol('fastify-concurrency.reply')

declare module 'fastify' {
  interface FastifyRequest {
    /** @internal Null until the request has passed our hook. */
    [kReply]?: Reply | null
  }
}
