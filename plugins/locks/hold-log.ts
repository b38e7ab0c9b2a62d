/** Writes the lines about locks that are held too long: one a second for each kind of lock, however many locks and holders there are. */
import type { FastifyBaseLogger } from 'fastify'
import { logSafely } from '../shared/log.ts'
import type { LockKind } from './channels.ts'
import type { Hold } from './hold.ts'

/** The time between two lines about a kind, in ms. */
const PERIOD_MS = 1_000

/** A line that is still to be written. */
interface Line {
  readonly hold: Hold
  readonly heldMs: number
  /** Locks of the kind that the line stands for, too. */
  others: number
}

export class HoldLog {
  readonly #log: FastifyBaseLogger
  readonly #lines = new Map<LockKind, Line>()
  #writtenAt = -Infinity
  #timer: NodeJS.Timeout | undefined

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  add (hold: Hold, heldMs: number, now: number): void {
    const line = this.#lines.get(hold.kind)
    if (line === undefined) this.#lines.set(hold.kind, { hold, heldMs, others: 0 })
    else line.others++
    if (this.#timer !== undefined) return
    const wait = this.#writtenAt + PERIOD_MS - now
    if (wait <= 0) this.write(now)
    else this.#timer = setTimeout(() => this.write(now + wait), wait).unref()
  }

  /** Writes what has not been written yet. */
  write (now: number): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#writtenAt = now
    for (const { hold: { kind, key, request, site: { stack } }, heldMs, others } of this.#lines.values()) {
      const fields = { lock: kind, key, reqId: request?.id, heldMs: Math.round(heldMs), acquired: stack, ...(others > 0 && { others }) }
      logSafely(this.#log, 'warn', fields, 'a lock is held for longer than maxHold; its holder asked for it here')
    }
    this.#lines.clear()
  }
}
