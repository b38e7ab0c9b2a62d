/**
 * The requests that a hook of the suite holds before their handler. Nothing runs for such a request, so a shutdown
 * doesn't wait for one whose client has left: neither its hook nor its handler will go on.
 */
import type { FastifyRequest } from 'fastify'

export const heldRequests = new WeakSet<FastifyRequest>()
