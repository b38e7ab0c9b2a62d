/**
 * The workers plugin: a pool of worker threads for CPU-bound jobs.
 *
 * It guarantees that nothing queues without bound, that a job runs at most once, that a job stops when its client
 * leaves, its caller aborts or its deadline passes, and that accepted jobs are finished before the app has closed,
 * within a deadline. It doesn't bound what a job does on its thread: a job that opens files or sockets closes them
 * itself when its signal aborts.
 */
import fp from 'fastify-plugin'
import type { FastifyInstance } from 'fastify'
import cancellation from '../cancellation/index.ts'
import { drainablesOf } from '../shared/drainables.ts'
import { ensure } from '../shared/options.ts'
import refusalLog from '../shared/refusal-log.ts'
import { refuseInThread } from '../shared/thread-guard.ts'
import { defined } from './channels.ts'
import { createWorkers, type Workers } from './decorator.ts'
import { resolveOptions, type WorkersOptions } from './options.ts'
import { Pool } from './pool/pool.ts'
import { Registry } from './registry.ts'
import type { RegisteredJobs } from './types.ts'

export type { Workers } from './decorator.ts'
export type { RunOptions, WorkersOptions } from './options.ts'
export type { Percentiles } from '../core/ledger/durations.ts'
export type { RunningJob } from '../core/ledger/counts.ts'
export type { JobStats, PoolStats } from './ledger.ts'
export type { JobName, JobPayload, JobResult } from './types.ts'
export type { Register } from '../register.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Runs the jobs of `Register['jobs']` on worker threads. */
    workers: Workers<RegisteredJobs>
  }
}

async function workers (app: FastifyInstance, options: WorkersOptions): Promise<void> {
  refuseInThread()
  const resolved = resolveOptions(options)
  ensure(!app.hasDecorator(resolved.decorator), 'workers.decorator', 'a name that no decorator of this app has',
    resolved.decorator)
  await app.register(cancellation, { ambient: resolved.ambient })
  await app.register(refusalLog)
  const registry = new Registry(resolved.jobs)
  const pool = new Pool(registry, resolved, app)
  app.decorate(resolved.decorator, createWorkers(pool, registry, resolved, app))
  const drainables = drainablesOf(app)
  drainables.add(pool)
  // The threads load the jobs while the app boots, and the app is ready when they are.
  app.addHook('onReady', async () => {
    defined.publish({ server: app.server, pool: resolved.decorator, names: registry.names })
    await pool.boot(app.initialConfig.pluginTimeout)
  })
  app.addHook('onClose', async () => {
    await pool.shutDown()
    drainables.delete(pool)
  })
}

/**
 * The Fastify plugin of the worker pool, `app.workers`. Register it alone, or for a further pool under another
 * name.
 */
export default fp(workers, { name: 'fastify-concurrency/workers', fastify: '5.x' })
