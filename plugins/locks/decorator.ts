/** The decorator `app.locks`. */
import type { FastifyRequest } from 'fastify'
import { currentRequest } from '../cancellation/index.ts'
import { endingWith } from '../cancellation/unawaited.ts'
import * as check from '../shared/options.ts'
import type { LockKind } from './channels.ts'
import { Hold, lockName, lockOf, type Lock } from './hold.ts'
import { Once } from './once.ts'
import { resolveWait, type AcquireOptions, type ResolvedLocksOptions } from './options.ts'
import { ALL_PERMITS } from './semaphore.ts'
import type { LockTable } from './table.ts'

/**
 * One holder at a time. A lock belongs to no code: whoever asks for it waits until it is released, also code that its holder has called and awaits.
 * Such a wait ends with FC_ERR_LOCK_TIMEOUT.
 */
export interface Mutex {
  /**
   * Calls `fn` as the only holder, and releases the lock when `fn` has settled. Prefer it to `acquire()`: it can't forget to release.
   *
   * @throws FC_ERR_LOCK_TIMEOUT, FC_ERR_LOCK_QUEUE_FULL, FC_ERR_CLOSING (503), FC_ERR_LOCK_ABORTED (499)
   */
  runExclusive<T> (fn: () => T | Promise<T>, options?: AcquireOptions): Promise<T>
  /** Resolves when the lock is the caller's: `await using lock = await mutex.acquire()`. Throws as `runExclusive()` does. */
  acquire (options?: AcquireOptions): Promise<Lock>
  /** Whether somebody holds the lock or waits for it. */
  readonly isLocked: boolean
}

/** Many readers or one writer. Writers aren't starved: a reader that comes after a writer waits behind it. */
export interface RwLock {
  /** Calls `fn` while no writer holds the lock. Throws as `runExclusive()` of a mutex does. */
  runShared<T> (fn: () => T | Promise<T>, options?: AcquireOptions): Promise<T>
  /** Calls `fn` as the only holder. */
  runExclusive<T> (fn: () => T | Promise<T>, options?: AcquireOptions): Promise<T>
  /** Resolves when the caller may read. */
  acquireShared (options?: AcquireOptions): Promise<Lock>
  /** Resolves when the caller is the only holder. */
  acquire (options?: AcquireOptions): Promise<Lock>
  /** Whether somebody reads or writes. */
  readonly isLocked: boolean
}

/** A semaphore has at most `permits` holders at a time. */
export interface Semaphore {
  /** Calls `fn` while it holds a permit. */
  run<T> (fn: () => T | Promise<T>, options?: AcquireOptions): Promise<T>
  /** Resolves when a permit is the caller's. */
  acquire (options?: AcquireOptions): Promise<Lock>
  /** Whether all permits are taken. */
  readonly isLocked: boolean
}

/** What is held and waited for now. */
export interface LocksStats {
  /** Locks that somebody holds or waits for. */
  locks: number
  /** Holders: a lock that is shared has several. */
  holding: number
  /** Callers that wait for a lock. */
  waiting: number
}

/** Locks by key for the code of one process, `app.locks`. */
export interface Locks {
  /** A lock for a section of code that only one caller may be in: from the read to the write of state that other requests change. */
  mutex (key: string): Mutex
  /** A lock for state that is read often and changed seldom. */
  rwlock (key: string): RwLock
  /**
   * A bound on what runs at the same time: connections to a service, open files.
   *
   * @param permits at least 1; the same for all who use the key at the same time
   */
  semaphore (key: string, permits: number): Semaphore
  /**
   * Runs an initialisation once, and resolves to its result for every caller: those that come while it runs share the run, later ones the
   * result. If it fails, those that wait have its error, and the next call runs its own `fn`. `fn` runs outside any request, since it
   * isn't one client's alone.
   *
   * @throws as `runExclusive()` of a mutex does; FC_ERR_LOCK_QUEUE_FULL also if `maxOnce` results are remembered
   */
  once<T> (key: string, fn: () => T | Promise<T>, options?: AcquireOptions): Promise<T>
  /** Forgets the result of `once()`, so that the next call runs its `fn`. */
  forget (key: string): void
  /** Returns how many locks are held, and how many callers wait. */
  stats (): LocksStats
}

export function createLocks (table: LockTable, defaults: ResolvedLocksOptions): Locks {
  const results = new Once(table, defaults.maxOnce)

  /** Returns runExclusive() and acquire() of one lock. Each call takes `weight` of its `permits`. */
  function calls (kind: LockKind, key: string, permits: number, weight: number): Pick<Mutex, 'runExclusive' | 'acquire'> {
    async function take (options: AcquireOptions, request: FastifyRequest | undefined,
      call: (...args: never[]) => unknown): Promise<Hold> {
      const wait = resolveWait(options, defaults, request)
      const hold = new Hold(kind, key, weight, request, call)
      await table.acquire(hold, permits, wait)
      return hold
    }

    function runExclusive<T> (fn: () => T | Promise<T>, options: AcquireOptions = {}): Promise<T> {
      const request = currentRequest()
      return endingWith(request, async () => {
        check.fn(`${kind}("${key}"): fn`, fn)
        const hold = await take(options, request, runExclusive)
        try {
          return await fn()
        } finally {
          table.release(hold)
        }
      })
    }

    function acquire (options: AcquireOptions = {}): Promise<Lock> {
      const request = currentRequest()
      return endingWith(request, async () => {
        const hold = await take(options, request, acquire)
        return lockOf(hold, () => table.release(hold))
      })
    }

    return { runExclusive, acquire }
  }

  const isLocked = (kind: LockKind, key: string) => ({ get isLocked () { return table.isLocked(lockName(kind, key)) } })

  return {
    mutex (key) {
      checkKey('mutex', key)
      return Object.assign(isLocked('mutex', key), calls('mutex', key, 1, 1))
    },
    rwlock (key) {
      checkKey('rwlock', key)
      const { runExclusive: runShared, acquire: acquireShared } = calls('rwlock', key, ALL_PERMITS, 1)
      return Object.assign(isLocked('rwlock', key), calls('rwlock', key, ALL_PERMITS, ALL_PERMITS), { runShared, acquireShared })
    },
    semaphore (key, permits) {
      checkKey('semaphore', key)
      check.integer(`semaphore("${key}").permits`, permits, { min: 1, max: ALL_PERMITS })
      const { runExclusive: run, acquire } = calls('semaphore', key, permits, 1)
      return Object.assign(isLocked('semaphore', key), { run, acquire })
    },
    once<T> (key: string, fn: () => T | Promise<T>, options: AcquireOptions = {}) {
      const request = currentRequest()
      return endingWith(request, async () => {
        checkKey('once', key)
        check.fn(`once("${key}"): fn`, fn)
        return await results.run(new Hold('once', key, 1, request, this.once), fn, resolveWait(options, defaults, request)) as T
      })
    },
    forget (key) {
      checkKey('forget', key)
      results.forget(key)
    },
    stats: () => ({ locks: table.size, holding: table.holding, waiting: table.waiting })
  }
}

function checkKey (call: string, key: string): void {
  check.ensure(typeof key === 'string', `${call}(key)`, 'a string', key)
}
