/**
 * The table of all locks: who holds each, and who waits. A lock is in the table only while somebody holds it or waits
 * for it, so a million keys cost nothing once they are released.
 *
 * Locks close last in a shutdown, since requests and tasks that finish need locks. Then whoever still waits is refused,
 * and whoever still holds a lock is named.
 */
import { DenseSet } from '../shared/collections/dense-set.ts'
import { ClosingError, LockAbortedError, LockQueueFullError, LockTimeoutError } from '../shared/errors.ts'
import { IdleWaiters, type Drainable, type Unfinished } from '../shared/drainables.ts'
import * as check from '../shared/options.ts'
import { within } from '../shared/within.ts'
import type { Hold } from './hold.ts'
import type { LockLedger } from './ledger.ts'
import type { ResolvedLocksOptions, Wait } from './options.ts'
import { FifoSemaphore, type Waiter } from './semaphore.ts'

/** Somebody who waits, and how to end the wait. */
interface Waiting extends Waiter {
  denseIndex: number
  /** Ends the wait with an error. */
  fail (error: Error): void
}

/** A lock that somebody holds or waits for. */
interface KeyedLock {
  readonly semaphore: FifoSemaphore
  readonly holds: DenseSet<Hold>
}

export class LockTable implements Drainable {
  readonly name = 'locks'
  readonly phase = 'workers'
  readonly #options: ResolvedLocksOptions
  readonly #ledger: LockLedger
  readonly #locks = new Map<string, KeyedLock>()
  #holding = 0
  readonly #waiting = new DenseSet<Waiting>()
  #isClosed = false
  #holdTimer: NodeJS.Timeout | undefined
  readonly #idle = new IdleWaiters()

  constructor (options: ResolvedLocksOptions, ledger: LockLedger) {
    this.#options = options
    this.#ledger = ledger
  }

  /** How many locks somebody holds or waits for. */
  get size (): number {
    return this.#locks.size
  }

  get waiting (): number {
    return this.#waiting.size
  }

  get holding (): number {
    return this.#holding
  }

  get pending (): number {
    return this.#holding + this.#waiting.size
  }

  /** Timers that are armed: those of waiters, and the one that looks for locks that are held too long. */
  get timers (): number {
    return this.#waiting.size + (this.#holdTimer === undefined ? 0 : 1)
  }

  isLocked (lock: string): boolean {
    return this.#locks.has(lock)
  }

  /**
   * Resolves when the lock is the caller's own. The caller is in the queue when the call returns.
   *
   * @param permits how many the lock has; the same in every call while the lock is in the table
   */
  async acquire (hold: Hold, permits: number, { timeout, signals }: Wait): Promise<void> {
    const asked = performance.now()
    try {
      const entry = this.#enter(hold, permits, signals)
      if (entry.semaphore.tryAcquire(hold.weight)) this.#granted(entry, hold)
      else await this.#wait(entry, hold, timeout, signals)
    } catch (error) {
      hold.isReleased = true
      this.#ledger.refused(hold, error as Error)
      throw error
    }
    this.#ledger.acquired(hold, performance.now() - asked)
  }

  /** Gives a lock to those who wait for it. Without effect on a hold that was released. */
  release (hold: Hold): void {
    if (hold.isReleased) return
    hold.isReleased = true
    const entry = this.#locks.get(hold.lock) as KeyedLock
    entry.holds.delete(hold)
    this.#holding--
    this.#ledger.released(hold, performance.now() - hold.since)
    entry.semaphore.release(hold.weight)
    this.#forget(hold.lock, entry)
    this.#settle()
  }

  /** Refuses whoever asks for a lock from now on. Those who wait are served. */
  close (): void {
    this.#isClosed = true
  }

  /** Resolves when nobody holds a lock or waits for one. */
  idle (): Promise<void> {
    return this.#idle.wait(this.pending)
  }

  held (): Unfinished[] {
    const now = performance.now()
    return this.#allHolds().map(({ kind, key, since }) =>
      ({ kind: 'lock', name: kind, id: key, ageMs: Math.round(now - since), attempt: 1 }))
  }

  /** Ends every wait, and waits for the holders for `grace` ms. */
  async giveUp (grace: number): Promise<Unfinished[]> {
    this.close()
    for (const waiting of this.#waiting.all()) waiting.fail(new ClosingError('The application'))
    await within(grace, this.idle())
    return this.held()
  }

  /** Returns every hold, in no order. */
  #allHolds (): Hold[] {
    return [...this.#locks.values()].flatMap(({ holds }) => holds.all())
  }

  /** Returns the lock, unless the caller must be refused before it waits. */
  #enter (hold: Hold, permits: number, signals: readonly AbortSignal[]): KeyedLock {
    if (this.#isClosed) throw new ClosingError('The application')
    const aborted = signals.find((signal) => signal.aborted)
    if (aborted !== undefined) throw new LockAbortedError(hold.kind, { cause: aborted.reason })
    const known = this.#locks.get(hold.lock)
    if (known === undefined) {
      const entry = { semaphore: new FifoSemaphore(permits), holds: new DenseSet<Hold>() }
      this.#locks.set(hold.lock, entry)
      return entry
    }
    const { semaphore } = known
    check.ensure(semaphore.permits === permits, `semaphore("${hold.key}").permits`, `${semaphore.permits}, the number of permits that its other callers use`, permits)
    return known
  }

  #wait (entry: KeyedLock, hold: Hold, timeout: number, signals: readonly AbortSignal[]): Promise<void> {
    const { maxWaiting, maxWaitingTotal } = this.#options
    const { semaphore } = entry
    if (timeout === 0) throw timedOut(entry, hold, timeout)
    if (semaphore.waiting >= maxWaiting) throw new LockQueueFullError(hold.kind, hold.key, maxWaiting)
    if (this.#waiting.size >= maxWaitingTotal) throw new LockQueueFullError(hold.kind, hold.key, maxWaitingTotal)
    return new Promise((resolve, reject) => {
      const listeners = signals.map((signal) => ({ signal, aborted: () => waiting.fail(new LockAbortedError(hold.kind, { cause: signal.reason })) }))
      const timer = timeout === Infinity ? undefined : setTimeout(() => waiting.fail(timedOut(entry, hold, timeout)), timeout)
      // The queue is left in the call that decides, not in a promise's turn later: otherwise a wait could be granted and fail at once.
      const leave = (): void => {
        clearTimeout(timer)
        for (const { signal, aborted } of listeners) signal.removeEventListener('abort', aborted)
        this.#waiting.delete(waiting)
      }
      const waiting: Waiting = {
        weight: hold.weight,
        denseIndex: -1,
        grant: () => {
          leave()
          this.#granted(entry, hold)
          resolve()
        },
        fail: (error) => {
          leave()
          semaphore.leave(waiting)
          this.#forget(hold.lock, entry)
          this.#settle()
          reject(error)
        }
      }
      for (const { signal, aborted } of listeners) signal.addEventListener('abort', aborted)
      this.#waiting.add(waiting)
      semaphore.enqueue(waiting)
    })
  }

  #granted ({ holds }: KeyedLock, hold: Hold): void {
    hold.since = performance.now()
    holds.add(hold)
    this.#holding++
    const { maxHold } = this.#options
    if (maxHold !== Infinity) this.#holdTimer ??= setTimeout(() => this.#logLongHolds(), maxHold).unref()
  }

  /** Logs the locks that are held too long, each once, and looks again when the next one may be. */
  #logLongHolds (): void {
    const { maxHold } = this.#options
    const now = performance.now()
    let oldest = now
    for (const hold of this.#allHolds()) {
      if (hold.isLogged) continue
      // A timer may fire too early by part of a millisecond.
      hold.isLogged = now - hold.since >= maxHold - 1
      if (hold.isLogged) this.#ledger.holdExceeded(hold, now - hold.since)
      else oldest = Math.min(oldest, hold.since)
    }
    // Not more often than four times in maxHold, however many locks there are.
    const wait = Math.max(maxHold - (now - oldest), maxHold / 4)
    this.#holdTimer = this.#holding === 0 ? undefined : setTimeout(() => this.#logLongHolds(), wait).unref()
  }

  #forget (name: string, entry: KeyedLock): void {
    if (entry.semaphore.isIdle && this.#locks.get(name) === entry) this.#locks.delete(name)
  }

  #settle (): void {
    if (this.#holding > 0) return
    clearTimeout(this.#holdTimer)
    this.#holdTimer = undefined
    if (this.#waiting.size === 0) this.#idle.wake()
  }
}

function timedOut ({ holds }: KeyedLock, { kind, key }: Hold, timeout: number): LockTimeoutError {
  return new LockTimeoutError(kind, key, timeout, holds.any?.site.stack)
}
