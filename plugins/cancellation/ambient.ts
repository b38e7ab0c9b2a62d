/** Detects the request that the running code serves. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { FastifyReply, FastifyRequest } from 'fastify'

const requests = new AsyncLocalStorage<FastifyRequest>()

/** Returns the current request, inside its hooks, its handler and all code that they call; `undefined` outside. */
export function currentRequest (): FastifyRequest | undefined {
  return requests.getStore()
}

/** Runs `callback` outside any request. */
export function outsideRequest<T> (callback: () => T): T {
  return requests.exit(callback)
}

/**
 * A hook that makes the request the current one. It is needed twice: in onRequest, and again in preValidation, since a body is parsed in events
 * of the socket, whose asynchronous context is not the request's (nodejs/node#34430).
 */
export function enterRequest (request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  requests.run(request, done)
}
