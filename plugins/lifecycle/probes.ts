/** What a load balancer asks (readiness: send me requests?) and what a supervisor asks (liveness: restart me?). */
import type { FastifyInstance } from 'fastify'
import { monotonic } from '../shared/clock.ts'
import type { ResolvedLifecycleOptions } from './options.ts'
import { createReadiness } from './readiness.ts'

export function addProbes (app: FastifyInstance, { readyPath, livePath, ready: checks, readyTimeout }: ResolvedLifecycleOptions): void {
  // A probe every second mustn't fill the log, and a flood of requests mustn't look like a dead process.
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
