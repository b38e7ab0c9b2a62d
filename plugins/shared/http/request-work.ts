/** When all work of a request has ended: its response, and its handler, which may go on after the client has left. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { onClosed } from './sockets.ts'

/** Set by lifecycle on each request that it observes. */
export const kRequestWork = Symbol('fastify-concurrency.requestWork')

export interface RequestWork {
  /** Calls `listener` once, when nothing of the request runs any more. */
  onEnded (listener: () => void): void
  /** The request is being answered. If a hook before the handler answers, the handler isn't called any more. */
  answered (): void
}

declare module 'fastify' {
  interface FastifyRequest {
    /** @internal Null before the request has entered; undefined if Fastify made it without decorators. */
    [kRequestWork]?: RequestWork | null
  }
}

/**
 * Calls `listener`, at least once. Without lifecycle, the end of the response, or the departure of the client, is all
 * that is known.
 */
export function onWorkEnded (request: FastifyRequest, reply: FastifyReply, listener: () => void): void {
  const work = request[kRequestWork]
  if (work == null) onClosed(reply, listener)
  else work.onEnded(listener)
}

/**
 * The requests that a hook of the suite holds before their handler. Nothing runs for such a request, so a shutdown
 * doesn't wait for one whose client has left: neither its hook nor its handler will go on.
 */
export const heldRequests = new WeakSet<FastifyRequest>()
