/** The diagnostics channels of locks. `server` tells apps in one process apart. */
import type { LockRefusalReason } from '../shared/errors.ts'
import { typedChannel } from '../shared/typed-channel.ts'

export type LockKind = 'mutex' | 'rwlock' | 'semaphore' | 'once'

export interface LockMessage {
  /** The app's server. */
  server: object
  kind: 'lock'
  /** Which kind of lock. */
  name: LockKind
  /** The lock's key. */
  id: string
}

/** A lock was acquired: published by the code that now holds it, in its async context. `hold` is the same object in `locks:released`. */
export const lockAcquired = typedChannel<LockMessage & { hold: object, waitMs: number }>('locks:acquired')

/** A lock was released. */
export const lockReleased = typedChannel<LockMessage & { hold: object, heldMs: number }>('locks:released')

/** A lock has been held for longer than `maxHold`. `stack` is where its holder asked for it. */
export const lockHoldExceeded = typedChannel<LockMessage & { heldMs: number, stack: string | undefined }>('locks:hold-exceeded')

/** A caller was refused: the queue is full, the wait took too long, or the service is closing. */
export const lockRefused = typedChannel<LockMessage & { reason: LockRefusalReason, error: Error }>('locks:refused')
