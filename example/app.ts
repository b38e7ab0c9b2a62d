/** The service: what an application that uses fastify-concurrency looks like. server.ts listens; tests build their own. */
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import concurrency, { type ConcurrencyOptions } from 'fastify-concurrency'
import { jobs } from './jobs.ts'
import page from './routes/page.ts'
import passwords from './routes/passwords.ts'
import search from './routes/search.ts'
import status from './routes/status.ts'
import thumbnails from './routes/thumbnails.ts'

/** How long a shutdown may take to finish what was accepted, in ms. */
export const SHUTDOWN_TIMEOUT = 10_000

export interface AppOptions {
  logger?: FastifyServerOptions['logger']
  /** Of the pool, beside its jobs. */
  workers?: Omit<Exclude<ConcurrencyOptions['workers'], false | undefined>, 'jobs'>
}

export function buildApp ({ logger = false, workers }: AppOptions = {}): FastifyInstance {
  const app = Fastify({ logger })
  app.register(concurrency, {
    // People at a page rather wait for some seconds than be told to come back; an API would keep the default.
    workers: { maxWait: 5_000, ...workers, jobs },
    lifecycle: { timeout: SHUTDOWN_TIMEOUT }
  })
  app.register(page)
  app.register(status)
  app.register(thumbnails)
  app.register(search)
  app.register(passwords)
  return app
}
