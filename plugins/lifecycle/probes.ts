/** What a load balancer asks (readiness: send me requests?) and what a supervisor asks (liveness: restart me?). */
import type { FastifyInstance } from 'fastify'
import type { ResolvedLifecycleOptions } from './options.ts'

export function addProbes (app: FastifyInstance, { readyPath, livePath }: ResolvedLifecycleOptions): void {
  // A probe every second mustn't fill the log, and a flood of requests mustn't look like a dead process.
  const shared = { logLevel: 'warn', config: { lifecycle: 'always', limiter: false } } as const

  if (readyPath !== false) {
    app.get(readyPath, shared, async (_request, reply) => {
      const { ready, phase } = app.lifecycle
      return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : phase })
    })
  }
  if (livePath !== false) app.get(livePath, shared, async () => ({ status: 'live' }))
}
