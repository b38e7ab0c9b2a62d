import type { FastifyInstance, FastifyRequest } from 'fastify'

/** Returns a function that calls a listener when the response of a request has been sent; at once if that is so already. */
export function watchRequestEnds (app: FastifyInstance): (request: FastifyRequest, listener: () => void) => void {
  const listeners = new WeakMap<FastifyRequest, Array<() => void> | 'ended'>()
  app.addHook('onResponse', (request, _reply, done) => {
    const waiting = listeners.get(request)
    listeners.set(request, 'ended')
    if (waiting !== undefined && waiting !== 'ended') for (const listener of waiting) listener()
    done()
  })
  return (request, listener) => {
    const waiting = listeners.get(request)
    if (waiting === 'ended') listener()
    else if (waiting === undefined) listeners.set(request, [listener])
    else waiting.push(listener)
  }
}
