/**
 * Locks by key: mutex, read-write lock, semaphore, once. First come, first served; bounded; given up when the client leaves; drained.
 *
 * The locks are those of one process: they order what its requests and tasks do to its own memory. They know nothing of other processes, nor of
 * worker threads, which share memory only through SharedCounter and SharedFlag of `fastify-concurrency/jobs`. A deadlock between two locks
 * isn't found; it ends with FC_ERR_LOCK_TIMEOUT.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import cancellation from '../cancellation/index.ts'
import { drainOnClose } from '../shared/drainables.ts'
import refusalLog from '../shared/refusal-log.ts'
import { createLocks, type Locks } from './decorator.ts'
import { LockLedger } from './ledger.ts'
import { resolveOptions, type LocksOptions } from './options.ts'
import { LockTable } from './table.ts'

export type { Locks, LocksStats, Mutex, RwLock, Semaphore } from './decorator.ts'
export type { LockRefusalReason } from '../shared/errors.ts'
export type { Lock } from './hold.ts'
export type { AcquireOptions, LocksOptions } from './options.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Locks by key. */
    locks: Locks
  }
}

async function locks (app: FastifyInstance, options: LocksOptions): Promise<void> {
  const resolved = resolveOptions(options)
  await app.register(cancellation, { ambient: resolved.ambient })
  await app.register(refusalLog)
  const table = new LockTable(resolved, new LockLedger(app))
  app.decorate('locks', createLocks(table, resolved))
  drainOnClose(app, [table], { closeTimeout: resolved.closeTimeout, grace: 0 })
}

/** The Fastify plugin of locks by key, `app.locks`. Register it alone if you use nothing else of the suite. */
export default fp(locks, { name: 'fastify-concurrency/locks', fastify: '5.x' })
