/** The options of the plugin, and those of a call. */
import type { FastifyRequest } from 'fastify'
import { timeLeft } from '../cancellation/handler-timeout.ts'
import { endSignalOf } from '../cancellation/request-end.ts'
import * as check from '../shared/options.ts'

/** The options of locks. */
export interface LocksOptions {
  /**
   * How many callers may wait for one lock; the next is refused with FC_ERR_LOCK_QUEUE_FULL.
   * @default 1_000
   */
  maxWaiting?: number
  /**
   * How many callers may wait for all locks together, so that no flood of keys fills the memory.
   * @default 10_000
   */
  maxWaitingTotal?: number
  /**
   * How many results `once()` remembers; a call with a further key is refused.
   * @default 10_000
   */
  maxOnce?: number
  /**
   * How long a caller waits for a lock before FC_ERR_LOCK_TIMEOUT, in ms; `Infinity` for ever. It also ends a deadlock between two locks.
   * @default 10_000
   */
  timeout?: number
  /**
   * A lock that is held longer than this, in ms, is logged with the stack of its holder; `Infinity` for never.
   * @default 5_000
   */
  maxHold?: number
  /**
   * How long closing waits for the holders of locks, in ms, when the lifecycle plugin isn't there to say it.
   * @default 10_000
   */
  closeTimeout?: number
  /**
   * Lets locks know the current request through AsyncLocalStorage, so that a waiter leaves when its client does.
   * @default true
   */
  ambient?: boolean
}

export type ResolvedLocksOptions = Required<LocksOptions>

/** @internal Every option, for the test that compares them with the docs. */
export const locksOptionNames = [
  'maxWaiting', 'maxWaitingTotal', 'maxOnce', 'timeout', 'maxHold', 'closeTimeout', 'ambient'
] as const satisfies ReadonlyArray<keyof LocksOptions>

export function resolveOptions (options: LocksOptions): ResolvedLocksOptions {
  check.record('locks', options, locksOptionNames)
  return {
    maxWaiting: check.integer('locks.maxWaiting', options.maxWaiting ?? 1_000, { min: 0 }),
    maxWaitingTotal: check.integer('locks.maxWaitingTotal', options.maxWaitingTotal ?? 10_000, { min: 0 }),
    maxOnce: check.integer('locks.maxOnce', options.maxOnce ?? 10_000, { min: 0 }),
    timeout: check.duration('locks.timeout', options.timeout ?? 10_000),
    maxHold: check.duration('locks.maxHold', options.maxHold ?? 5_000, { min: 1 }),
    closeTimeout: check.duration('locks.closeTimeout', options.closeTimeout ?? 10_000),
    ambient: check.boolean('locks.ambient', options.ambient ?? true)
  }
}

/** How a caller waits for a lock. */
export interface AcquireOptions {
  /** Ends the wait with FC_ERR_LOCK_ABORTED when it aborts. A lock that is held already stays held. */
  signal?: AbortSignal
  /**
   * How long to wait, in ms; 0 to be refused at once unless the lock is free.
   * @default the plugin's `timeout`
   */
  timeout?: number
  /**
   * Waits on after the client of the current request has left, or after the request has been answered.
   * @default false
   */
  detached?: boolean
}

/** @internal Every option, for the test that compares them with the docs. */
export const acquireOptionNames = ['signal', 'timeout', 'detached'] as const satisfies ReadonlyArray<keyof AcquireOptions>

/** A wait with its bounds. */
export interface Wait {
  timeout: number
  /** Each of the signals ends the wait. */
  signals: AbortSignal[]
}

export function resolveWait (options: AcquireOptions, defaults: { timeout: number }, request: FastifyRequest | undefined): Wait {
  check.record('options', options, acquireOptionNames)
  const { signal } = options
  if (signal !== undefined) check.abortSignal('options.signal', signal)
  const isDetached = check.boolean('options.detached', options.detached ?? false)
  const owner = isDetached ? undefined : request
  const timeout = owner === undefined ? defaults.timeout : Math.min(defaults.timeout, timeLeft(owner))
  return {
    timeout: check.duration('options.timeout', options.timeout ?? timeout),
    signals: [signal, owner && endSignalOf(owner)].filter((each) => each !== undefined)
  }
}
