/** The gate counts a new request as in flight, or refuses it, by the phase of the shutdown. */
import type { FastifyInstance } from 'fastify'
import { ClosingError } from '../../shared/errors.ts'
import { sendError } from '../../shared/http/send-error.ts'
import { logSafely } from '../../shared/log.ts'
import { refusalCounter } from '../../shared/refusal-log.ts'
import { countsOf } from '../../core/ledger/counts.ts'
import { requestRefused } from '../channels.ts'
import { admits, isStopping, type Phase } from '../phases.ts'
import { disableKeepAlive } from './keep-alive.ts'
import { isAlways, type InFlight } from './requests.ts'

/** @param refuses is false with Fastify's own `return503OnClosing: false`: then requests are served as long as the server listens */
export function addGate (app: FastifyInstance, inFlight: InFlight, phase: () => Phase, refuses: boolean): void {
  const error = new ClosingError('The service')
  const countRefusal = refusalCounter(app)

  // Hooks of requests have names, which @fastify/otel gives to their spans.
  app.addHook('onRequest', function admitRequest (request, reply, done) {
    if (!isStopping(phase())) {
      inFlight.enter(request, reply)
      return done()
    }
    disableKeepAlive(reply)
    const always = isAlways(request)
    if (refuses && !admits(phase(), always)) {
      countsOf(app.server).requestsRefused++
      if (requestRefused.hasSubscribers) {
        requestRefused.publish({ server: app.server, phase: phase(), method: request.method, route: request.routeOptions.url })
      }
      logSafely(request.log, 'debug', { err: error, phase: phase() }, error.message)
      countRefusal({ code: error.code })
      return sendError(reply, error)
    }
    inFlight.enter(request, reply)
    if (always) inFlight.release(request)
    done()
  })
}
