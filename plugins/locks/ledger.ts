/**
 * The ledger of locks: what callers of locks are counted as, and what is published and logged of them. It decides
 * nothing.
 */
import type { FastifyInstance } from 'fastify'
import { completed, refused } from '../core/ledger/ledger.ts'
import { countsOf, type Counts } from '../core/ledger/counts.ts'
import { isRefusal } from '../shared/coded-error.ts'
import type { LockRefusalReason } from '../shared/errors.ts'
import { logSafely } from '../shared/log.ts'
import type { TypedChannel } from '../shared/typed-channel.ts'
import * as channels from './channels.ts'
import type { LockKind, LockMessage } from './channels.ts'
import type { Hold } from './hold.ts'

type Details<Message> = Omit<Message, keyof LockMessage>

/** The time between two lines about locks that are held too long, in ms. */
const PERIOD_MS = 1_000

/** A line about a lock that is held too long, and that is still to be written. */
interface Line {
  readonly hold: Hold
  readonly heldMs: number
  /** Locks of the kind that the line stands for, too. */
  others: number
}

export class LockLedger {
  readonly #app: FastifyInstance
  readonly #kinds: Counts['locks']
  /** One for each kind of lock, however many locks and holders there are. */
  readonly #lines = new Map<LockKind, Line>()
  #writtenAt = -Infinity
  #timer: NodeJS.Timeout | undefined

  constructor (app: FastifyInstance) {
    this.#app = app
    this.#kinds = countsOf(app.server).locks
    app.addHook('onClose', async () => this.#writeLines())
  }

  acquired (hold: Hold, waitMs: number): void {
    const account = this.#kinds.of(hold.kind)
    account.count(completed(undefined, 0))
    account.wait.record(waitMs)
    if (channels.lockAcquired.hasSubscribers) this.#publish(channels.lockAcquired, hold, { hold, waitMs })
  }

  released (hold: Hold, heldMs: number): void {
    if (channels.lockReleased.hasSubscribers) this.#publish(channels.lockReleased, hold, { hold, heldMs })
  }

  /**
   * The error is thrown to the caller, so it isn't logged. A caller that has left, or made a mistake, was not refused.
   */
  refused (hold: Hold, error: Error): void {
    if (!isRefusal(error)) return
    const refusal = error as Error & { reason: LockRefusalReason }
    this.#kinds.of(hold.kind).count(refused(refusal))
    if (channels.lockRefused.hasSubscribers) {
      this.#publish(channels.lockRefused, hold, { reason: refusal.reason, error })
    }
  }

  /** Writes at most one line a second for each kind of lock. */
  holdExceeded (hold: Hold, heldMs: number): void {
    if (channels.lockHoldExceeded.hasSubscribers) {
      this.#publish(channels.lockHoldExceeded, hold, { heldMs, stack: hold.site.stack })
    }
    const line = this.#lines.get(hold.kind)
    if (line === undefined) this.#lines.set(hold.kind, { hold, heldMs, others: 0 })
    else line.others++
    if (this.#timer !== undefined) return
    const wait = this.#writtenAt + PERIOD_MS - performance.now()
    if (wait <= 0) this.#writeLines()
    else this.#timer = setTimeout(() => this.#writeLines(), wait).unref()
  }

  #writeLines (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#writtenAt = performance.now()
    for (const { hold: { kind, key, request, site: { stack } }, heldMs, others } of this.#lines.values()) {
      const fields = {
        lock: kind,
        key,
        reqId: request?.id,
        heldMs: Math.round(heldMs),
        acquired: stack,
        ...(others > 0 && { others })
      }
      logSafely(this.#app.log, 'warn', fields,
        'a lock is held for longer than maxHold; its holder asked for it here')
    }
    this.#lines.clear()
  }

  #publish<Message extends LockMessage> (channel: TypedChannel<Message>, { kind, key }: Hold,
    details: Details<Message>): void {
    channel.publish(Object.assign({ server: this.#app.server, kind: 'lock', name: kind, id: key }, details) as Message)
  }
}
