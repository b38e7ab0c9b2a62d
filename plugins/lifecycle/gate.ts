/** Where requests come in: counted, or refused by phase. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ClosingError } from '../errors.ts'
import { requestRefused } from './channels.ts'
import { admits, isStopping, type Phase } from './phases.ts'
import type { InFlight } from './requests.ts'

export function addGate (app: FastifyInstance, inFlight: InFlight, phase: () => Phase): void {
  const refusal = closingBody()

  app.addHook('onRequest', (request, reply, done) => {
    const stopping = isStopping(phase())
    if (!stopping) {
      inFlight.enter(request, reply)
      return done()
    }
    inFlight.tellToClose(reply)
    const always = isAlways(request)
    if (!admits(phase(), always)) {
      if (requestRefused.hasSubscribers) {
        requestRefused.publish({ server: app.server, phase: phase(), method: request.method, route: request.routeOptions.url })
      }
      return refuse(reply, refusal)
    }
    inFlight.enter(request, reply)
    if (always) inFlight.release(request)
    done()
  })

  app.addHook('onSend', (request, _reply, _payload, done) => {
    inFlight.answered(request)
    done()
  })

  app.addHook('onRoute', (route) => {
    const { handler } = route
    route.handler = function (request, reply) {
      const result: unknown = handler.call(this, request, reply)
      inFlight.handled(request, result)
      return result
    }
  })
}

export function isAlways (request: FastifyRequest): boolean {
  return request.routeOptions.config?.lifecycle === 'always'
}

/** Fastify's own shape of an error; rendered once, since it is sent when there is least time for it. */
function closingBody (): string {
  const { statusCode, code, message } = new ClosingError('The service')
  return JSON.stringify({ statusCode, code, error: 'Service Unavailable', message })
}

// Sent, not thrown: throwing costs twice as much, and the default handler would log each one as an error.
function refuse (reply: FastifyReply, body: string): void {
  reply.code(503).type('application/json; charset=utf-8').send(body)
}
