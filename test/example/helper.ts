import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { buildApp, type AppOptions } from '../../example/app.ts'

/** Threads run TypeScript as `npm start` does: under tap's own loader one takes 0.8 s and 200 MB on Node 20. */
export const execArgv = ['--conditions=fastify-concurrency-source', '--import', new URL('../../loader/typescript.js', import.meta.url).href]

/** The service, ready, closed after the test. */
export async function serve (t: Test, prepare: (app: FastifyInstance) => void = () => {}, options: AppOptions = {}): Promise<FastifyInstance> {
  // Tests hammer from one address: what they measure isn't the limits, unless they say so.
  const app = buildApp({ workers: { execArgv, maxThreads: 2 }, limiter: { allowList: ['127.0.0.1'] }, ...options })
  t.teardown(() => app.close())
  prepare(app)
  await app.ready()
  return app
}
