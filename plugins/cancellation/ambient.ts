/** The request that the running code serves, without being passed along. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { FastifyReply, FastifyRequest } from 'fastify'

const requests = new AsyncLocalStorage<FastifyRequest>()

/** The request being handled, inside its hooks and handler and all they call; `undefined` outside. */
export function currentRequest (): FastifyRequest | undefined {
  return requests.getStore()
}

/** Runs `callback` outside any request. */
export function outsideRequest<T> (callback: () => T): T {
  return requests.exit(callback)
}

/**
 * A hook that enters the request. Needed twice: in onRequest, and again in preValidation, since a body is parsed in events of the
 * socket, whose asynchronous context is not the request's (nodejs/node#34430).
 */
export function enterRequest (request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  requests.run(request, done)
}
