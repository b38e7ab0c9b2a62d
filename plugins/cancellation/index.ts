/**
 * The ground of the other plugins: `request.disconnected`, right on GET, POST, keep-alive, HTTP/2 and inject, and the ambient request.
 *
 * Every plugin that needs it registers it, and a second registration in the same scope changes nothing.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { boolean, record } from '../options.ts'
import { enterRequest } from './ambient.ts'
import { disconnectedSignal } from './disconnected.ts'

export { currentRequest, outsideRequest } from './ambient.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * Aborts when the client leaves before the response was sent; `reason` is an AbortError.
     * Unlike `request.signal` it holds on requests with a body, and when first read after the client left.
     */
    readonly disconnected: AbortSignal
  }
}

export interface CancellationOptions {
  /**
   * Lets `workers.run()` and the like know the current request through AsyncLocalStorage. Without it, pass `{ request }`.
   * @default true
   */
  ambient?: boolean
}

const kReply = Symbol('fastify-concurrency.reply')
const kDisconnected = Symbol('fastify-concurrency.disconnected')

interface Tracked {
  [kReply]: FastifyReply | null
  [kDisconnected]: AbortSignal | null
}

async function cancellation (app: FastifyInstance, options: CancellationOptions): Promise<void> {
  record('cancellation', options, ['ambient'])
  const ambient = boolean('cancellation.ambient', options.ambient ?? true)
  if (app.hasRequestDecorator('disconnected')) return

  app.decorateRequest(kReply, null)
  app.decorateRequest(kDisconnected, null)
  app.decorateRequest('disconnected', {
    getter (this: FastifyRequest) {
      const tracked = this as unknown as Tracked
      // Before our onRequest hook there is no reply yet, and nobody can have been waiting for one.
      tracked[kDisconnected] ??= tracked[kReply] === null ? new AbortController().signal : disconnectedSignal(tracked[kReply])
      return tracked[kDisconnected]
    }
  })
  app.addHook('onRequest', (request: FastifyRequest, reply: FastifyReply, done: () => void) => {
    (request as unknown as Tracked)[kReply] = reply
    if (ambient) enterRequest(request, reply, done)
    else done()
  })
  if (ambient) app.addHook('preValidation', enterRequest)
}

export default fp(cancellation, { name: 'fastify-concurrency/cancellation', fastify: '5.x' })
