/**
 * The cancellation plugin provides `request.disconnected`, which is right on GET, POST, keep-alive, HTTP/2 and inject, and the ambient request.
 *
 * Every plugin that needs it registers it. A second registration in the same scope changes nothing.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { boolean, record } from '../shared/options.ts'
import { enterRequest } from './ambient.ts'
import { abortWhenDisconnected, controllerOf, kDisconnected, kEnded, kReply } from './disconnected.ts'

export { currentRequest, outsideRequest } from './ambient.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * Aborts when the client leaves before the response was sent; `reason` is then an AbortError. Aborts also when a shutdown gives the request
     * up, with the client still there; `reason` is then a ClosingError (FC_ERR_CLOSING, 503), and the handler has `grace` ms to answer.
     * Unlike `request.signal` it holds on requests with a body, and when first read after the client left.
     */
    readonly disconnected: AbortSignal
  }
}

export interface CancellationOptions {
  /**
   * Lets `workers.run()` and others detect the current request, through AsyncLocalStorage. Otherwise pass `{ request }`.
   * @default true
   */
  ambient?: boolean
}

const kAmbient = Symbol('fastify-concurrency.ambient')

async function cancellation (app: FastifyInstance, options: CancellationOptions): Promise<void> {
  record('cancellation', options, ['ambient'])
  const ambient = boolean('cancellation.ambient', options.ambient ?? true)
  if (!app.hasRequestDecorator(kDisconnected)) track(app)
  // Of several registrations, one that asks for the ambient request is enough.
  if (!ambient || app.hasDecorator(kAmbient)) return
  app.decorate(kAmbient, true)
  app.addHook('onRequest', enterRequest)
  app.addHook('preValidation', enterRequest)
}

function track (app: FastifyInstance): void {
  app.decorateRequest(kReply, null)
  app.decorateRequest(kDisconnected, null)
  app.decorateRequest(kEnded, null)
  app.decorateRequest('disconnected', {
    getter (this: FastifyRequest) { return controllerOf(this).signal }
  })
  app.addHook('onRequest', function watchClient (request: FastifyRequest, reply: FastifyReply, done: () => void) {
    request[kReply] = reply
    // A hook that ran before this one has read the signal.
    const controller = request[kDisconnected]
    if (controller != null) abortWhenDisconnected(controller, reply)
    done()
  })
}

export default fp(cancellation, { name: 'fastify-concurrency/cancellation', fastify: '5.x' })
