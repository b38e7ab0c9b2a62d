// An app with the limiter and a clock that stands still.
import Fastify, { type FastifyInstance, type InjectOptions, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import limiter, { type LimiterOptions } from '../../plugins/limiter/index.ts'

export interface Subject {
  app: FastifyInstance
  clock: { time: number, now (): number }
  /** What was logged, as objects. */
  logged: Array<Record<string, unknown> & { level: number, msg: string }>
  /** Status codes of requests, one after the other. */
  statuses (...urls: Array<string | InjectOptions>): Promise<number[]>
}

export async function build (
  t: Test, options: LimiterOptions, routes: (app: FastifyInstance) => void = (app) => { app.get('/', async () => 'ok') },
  server: FastifyServerOptions = {}
): Promise<Subject> {
  const clock = { time: 1e6, now () { return this.time } }
  const logged: Subject['logged'] = []
  const stream = { write: (line: string) => { logged.push(JSON.parse(line) as Subject['logged'][number]) } }
  const app: FastifyInstance = Fastify({ logger: { level: 'info', stream }, ...server })
  t.teardown(() => app.close())
  await app.register(limiter, { clock, ...options })
  routes(app)
  await app.ready()
  return {
    app,
    clock,
    logged,
    async statuses (...requests) {
      const statuses: number[] = []
      for (const request of requests) statuses.push((await app.inject(request)).statusCode)
      return statuses
    }
  }
}

/** So slow that nothing flows back. */
export const NEVER = 1e-6
