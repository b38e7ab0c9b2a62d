/** Sweeper lets keys go on whose permits a process that has ended did not pass on. */
import type { FastifyBaseLogger } from 'fastify'
import { logSafely } from '../../../shared/log.ts'
import type { KeyPermits } from './permits.ts'

export class Sweeper {
  readonly #permits: readonly KeyPermits[]
  readonly #interval: number
  readonly #log: FastifyBaseLogger
  #timer: NodeJS.Timeout | undefined
  #isSweeping = false

  /** @param interval the time between two sweeps of a key, by any process, in ms */
  constructor (permits: readonly KeyPermits[], interval: number, log: FastifyBaseLogger) {
    this.#permits = permits
    this.#interval = interval
    this.#log = log
  }

  start (): void {
    if (this.#permits.length > 0) this.#timer = setInterval(() => { void this.#sweep() }, this.#interval).unref()
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  async #sweep (): Promise<void> {
    // While Redis is away, the last sweep waits for it.
    if (this.#isSweeping) return
    this.#isSweeping = true
    for (const swept of await Promise.allSettled(this.#permits.map((permits) => permits.sweep(this.#interval)))) {
      if (swept.status === 'rejected') {
        logSafely(this.#log, 'debug', { err: swept.reason }, 'tasks: the lines of keys could not be swept')
      }
    }
    this.#isSweeping = false
  }
}
