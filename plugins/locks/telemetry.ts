/** LockTelemetry reports what becomes of locks, to the log and to the diagnostics channels. */
import type { FastifyInstance } from 'fastify'
import { isRefusal } from '../shared/coded-error.ts'
import type { LockRefusalReason } from '../shared/errors.ts'
import { logSafely } from '../shared/log.ts'
import type { TypedChannel } from '../shared/typed-channel.ts'
import * as channels from './channels.ts'
import type { LockMessage } from './channels.ts'
import type { Hold } from './hold.ts'

type Details<Message> = Omit<Message, keyof LockMessage>

export class LockTelemetry {
  readonly #app: FastifyInstance

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  acquired (hold: Hold, waitMs: number): void {
    if (channels.lockAcquired.hasSubscribers) this.#publish(channels.lockAcquired, hold, { hold, waitMs })
  }

  released (hold: Hold, heldMs: number): void {
    if (channels.lockReleased.hasSubscribers) this.#publish(channels.lockReleased, hold, { hold, heldMs })
  }

  /** The error is thrown to the caller, so it isn't logged. A caller that has left, or made a mistake, was not refused. */
  refused (hold: Hold, error: Error): void {
    if (!channels.lockRefused.hasSubscribers || !isRefusal(error)) return
    const { reason } = error as Error & { reason: LockRefusalReason }
    this.#publish(channels.lockRefused, hold, { reason, error })
  }

  holdExceeded (hold: Hold, heldMs: number): void {
    const { kind, key, request, site: { stack } } = hold
    logSafely(this.#app.log, 'warn', { lock: kind, key, reqId: request?.id, heldMs: Math.round(heldMs), acquired: stack },
      'a lock is held for longer than maxHold; its holder asked for it here')
    if (channels.lockHoldExceeded.hasSubscribers) this.#publish(channels.lockHoldExceeded, hold, { heldMs, stack })
  }

  #publish<Message extends LockMessage> (channel: TypedChannel<Message>, { kind, key }: Hold, details: Details<Message>): void {
    channel.publish(Object.assign({ server: this.#app.server, kind: 'lock', name: kind, id: key }, details) as Message)
  }
}
