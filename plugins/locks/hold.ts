/** Holds: locks that somebody has, or is about to have. */
import type { FastifyRequest } from 'fastify'
import { captureStack } from '../shared/log.ts'
import type { LockKind } from './channels.ts'

/** How much of a stack is kept. Each frame costs about a microsecond, and every lock is asked for with its stack. */
const FRAMES = 4

export class Hold {
  readonly kind: LockKind
  readonly key: string
  /** The lock's name among all kinds. */
  readonly lock: string
  readonly weight: number
  readonly request: FastifyRequest | undefined
  /** Whether the lock was given back, or was never granted and never will be. */
  isReleased = false
  /** When the lock was granted, in ms. */
  since = 0
  isLogged = false
  /** Its place among all holds; see DenseSet. */
  denseIndex = -1
  /** Where the lock was asked for; formatted only when it is read. */
  readonly site: { stack?: string } = {}

  /** @param above the call of the user: its caller is the first line of the stack */
  constructor (kind: LockKind, key: string, weight: number, request: FastifyRequest | undefined, above: (...args: never[]) => unknown) {
    this.kind = kind
    this.key = key
    this.lock = lockName(kind, key)
    this.weight = weight
    this.request = request
    captureStack(this.site, FRAMES, above)
  }
}

export function lockName (kind: LockKind, key: string): string {
  return `${kind}\0${key}`
}

/** A lock that the caller holds until it releases it. Use it with `using` or `await using`, which release it on every way out. */
export interface Lock extends Disposable, AsyncDisposable {
  /** The lock's key. */
  readonly key: string
  /** Gives the lock to the next waiter. Idempotent. */
  release (): void
}

export function lockOf (hold: Hold, release: () => void): Lock {
  return {
    key: hold.key,
    release,
    [Symbol.dispose]: release,
    [Symbol.asyncDispose]: async () => release()
  }
}
