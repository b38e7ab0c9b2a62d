/** The ledger of locks: what callers of locks are counted as, and what is published and logged of them. It decides nothing. */
import type { FastifyInstance } from 'fastify'
import { countsOf, type Counts } from '../core/ledger/counts.ts'
import { completed, refused } from '../core/ledger/ledger.ts'
import { isRefusal } from '../shared/coded-error.ts'
import type { LockRefusalReason } from '../shared/errors.ts'
import type { TypedChannel } from '../shared/typed-channel.ts'
import * as channels from './channels.ts'
import type { LockMessage } from './channels.ts'
import type { Hold } from './hold.ts'
import { HoldLog } from './hold-log.ts'

type Details<Message> = Omit<Message, keyof LockMessage>

export class LockLedger {
  readonly #app: FastifyInstance
  readonly #kinds: Counts['locks']
  readonly #holdLog: HoldLog

  constructor (app: FastifyInstance) {
    this.#app = app
    this.#kinds = countsOf(app.server).locks
    this.#holdLog = new HoldLog(app.log)
    app.addHook('onClose', async () => this.#holdLog.write(performance.now()))
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

  /** The error is thrown to the caller, so it isn't logged. A caller that has left, or made a mistake, was not refused. */
  refused (hold: Hold, error: Error): void {
    if (!isRefusal(error)) return
    const refusal = error as Error & { reason: LockRefusalReason }
    this.#kinds.of(hold.kind).count(refused(refusal))
    if (channels.lockRefused.hasSubscribers) this.#publish(channels.lockRefused, hold, { reason: refusal.reason, error })
  }

  holdExceeded (hold: Hold, heldMs: number): void {
    this.#holdLog.add(hold, heldMs, performance.now())
    if (channels.lockHoldExceeded.hasSubscribers) this.#publish(channels.lockHoldExceeded, hold, { heldMs, stack: hold.site.stack })
  }

  #publish<Message extends LockMessage> (channel: TypedChannel<Message>, { kind, key }: Hold, details: Details<Message>): void {
    channel.publish(Object.assign({ server: this.#app.server, kind: 'lock', name: kind, id: key }, details) as Message)
  }
}
