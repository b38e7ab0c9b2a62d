/** The service: what an application that uses fastify-concurrency looks like. server.ts listens; tests build their own. */
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import concurrency, { type ConcurrencyOptions } from 'fastify-concurrency'
import { jobs } from './jobs.ts'
import { policies } from './policies.ts'
import load from './routes/load.ts'
import page from './routes/page.ts'
import passwords from './routes/passwords.ts'
import report from './routes/report.ts'
import search from './routes/search.ts'
import status from './routes/status.ts'
import thumbnails from './routes/thumbnails.ts'
import users from './routes/users.ts'
import webhooks from './routes/webhooks.ts'
import { tasks } from './tasks.ts'

/** How long a shutdown may take to finish what was accepted, in ms. */
export const SHUTDOWN_TIMEOUT = 10_000

export interface AppOptions {
  logger?: FastifyServerOptions['logger']
  /** Of the pool, beside its jobs. */
  workers?: Omit<Exclude<ConcurrencyOptions['workers'], false | undefined>, 'jobs'>
  /** Of background tasks, beside their names. */
  tasks?: Omit<Exclude<ConcurrencyOptions['tasks'], false | undefined>, 'tasks'>
  /** Of the limits, beside the policies. */
  limiter?: Omit<Exclude<ConcurrencyOptions['limiter'], false | undefined>, 'policies'>
  /** Where limits are shared with other processes, and named tasks are stored; by default both are this process's own. */
  redisUrl?: string | undefined
  /** Where mails go; by default to a server that this process starts. */
  smtpUrl?: string | undefined
}

export function buildApp ({ logger = false, workers, tasks: taskOptions, limiter, redisUrl, smtpUrl }: AppOptions = {}): FastifyInstance {
  const app = Fastify({ logger })
  app.register(concurrency, {
    ...redisUrl !== undefined && { redis: redisUrl },
    // A job that eats memory loses its thread at this size, and the process goes on.
    workers: { resourceLimits: { maxOldGenerationSizeMb: 256 }, ...workers, jobs },
    limiter: { ...limiter, policies },
    lifecycle: { timeout: SHUTDOWN_TIMEOUT, readyPath: '/ready', livePath: '/live' },
    tasks: { ...taskOptions, tasks },
    dashboard: {}
  })
  app.register(page)
  app.register(status)
  app.register(load)
  app.register(thumbnails)
  app.register(search)
  app.register(passwords)
  app.register(report)
  app.register(users, { smtpUrl })
  app.register(webhooks)
  return app
}
