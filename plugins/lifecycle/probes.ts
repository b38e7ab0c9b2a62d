/** The probes. Readiness tells a load balancer whether to send requests; liveness tells a supervisor whether to restart the process. */
import type { FastifyInstance } from 'fastify'
import { monotonic } from '../shared/clock.ts'
import type { ResolvedLifecycleOptions } from './options.ts'
import { createReadiness } from './readiness.ts'

export function addProbes (app: FastifyInstance, { readyPath, livePath, ready: checks, readyTimeout }: ResolvedLifecycleOptions): void {
  // A probe every second must not fill the log, and a flood of requests must not make the process look dead.
  const shared = { logLevel: 'warn', config: { lifecycle: 'always', limiter: false } } as const

  if (readyPath !== false) {
    const failedChecks = createReadiness(checks, readyTimeout, monotonic.now)
    app.get(readyPath, shared, async (_request, reply) => {
      if (app.lifecycle.ready) {
        const failed = await failedChecks()
        // A shutdown may have begun meanwhile.
        if (app.lifecycle.ready) return failed.length === 0 ? { status: 'ready' } : reply.code(503).send({ status: 'not ready', failed })
      }
      return reply.code(503).send({ status: app.lifecycle.phase })
    })
  }
  if (livePath !== false) app.get(livePath, shared, async () => ({ status: 'live' }))
}
