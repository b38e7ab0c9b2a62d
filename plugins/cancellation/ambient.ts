/** Detects what the running code is part of: a request, or work that outlives its request. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'

/** Work that outlives its request, such as a task. */
export abstract class Work {
  /** Names the work in each line, and the request that it comes from. */
  abstract readonly log: FastifyBaseLogger
}

const current = new AsyncLocalStorage<FastifyRequest | Work>()

/** Returns what the running code is part of. Code of a request that some work has injected is part of the request alone. */
export function currentPart (): FastifyRequest | Work | undefined {
  return current.getStore()
}

/** Returns the current request, inside its hooks, its handler and all code that they call; `undefined` outside. */
export function currentRequest (): FastifyRequest | undefined {
  const part = current.getStore()
  return part instanceof Work ? undefined : part
}

/** Runs `callback` outside any request. */
export function outsideRequest<T> (callback: () => T): T {
  return current.getStore() instanceof Work ? callback() : current.exit(callback)
}

/** Runs `callback` as a part of `work`, outside any request. */
export function runWork<W extends Work, T> (work: W, callback: (work: W) => T): T {
  return current.run(work, callback, work)
}

/**
 * A hook that makes the request the current one. It is needed twice: in onRequest, and again in preValidation, since a body is parsed in events
 * of the socket, whose asynchronous context is not the request's (nodejs/node#34430).
 */
export function enterRequest (request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  if (current.getStore() === request) done()
  else current.run(request, done)
}
