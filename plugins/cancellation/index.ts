/**
 * The cancellation plugin provides `request.disconnected`, which is right on GET, POST, keep-alive, HTTP/2 and inject, and the ambient request.
 *
 * Every plugin that needs it registers it. A second registration in the same scope changes nothing.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { boolean, record } from '../shared/options.ts'
import { enterRequest } from './ambient.ts'
import { kReply } from './reply.ts'
import { endOf, kEnd } from './request-end.ts'

export { currentRequest, outsideRequest } from './ambient.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * Aborts when nobody is left who could receive an answer of the handler. `reason` tells why: a ClientGoneError (FC_ERR_CLIENT_GONE, 499), whose
     * name is AbortError, if the client has left before the response was sent; FST_ERR_HANDLER_TIMEOUT if Fastify has answered in the handler's
     * place, after `handlerTimeout`; a ClosingError (FC_ERR_CLOSING, 503) if a shutdown gives the request up, with the client still there: the
     * handler has `grace` ms to answer.
     * It doesn't abort after an answer of the handler's own. Unlike `request.signal` it is right on requests with a body, and when first read after
     * the client left.
     */
    readonly disconnected: AbortSignal
  }
}

/** The options of cancellation. Without options, it passes the current request to work of the suite by itself. */
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
  if (!app.hasRequestDecorator(kEnd)) track(app)
  // Of several registrations, one that asks for the ambient request is enough.
  if (!ambient || app.hasDecorator(kAmbient)) return
  app.decorate(kAmbient, true)
  app.addHook('onRequest', enterRequest)
  app.addHook('preValidation', enterRequest)
}

function track (app: FastifyInstance): void {
  app.decorateRequest(kReply, null)
  app.decorateRequest(kEnd, null)
  app.decorateRequest('disconnected', {
    getter (this: FastifyRequest) { return endOf(this).disconnected }
  })
  app.addHook('onRequest', function watchClient (request: FastifyRequest, reply: FastifyReply, done: () => void) {
    request[kReply] = reply
    // A hook that ran before this one has read the signal.
    request[kEnd]?.attach(reply)
    done()
  })
}

/**
 * The Fastify plugin of cancellation: `request.disconnected`, a signal that aborts when the client leaves. The
 * suite registers it.
 */
export default fp(cancellation, { name: 'fastify-concurrency/cancellation', fastify: '5.x' })
